"""The options of `export`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from pipeline.config.fields import Choice, Operational, config_class
from pipeline.config.stage import Files, MostUsed, StageConfig
from pipeline.registry import EXPORT_FORMATS


def _list_formats() -> tuple[str, ...]:
    return tuple(name.replace("_", "-") for name in EXPORT_FORMATS.names())


@config_class
class ExportConfig(StageConfig):
    """Write a trained model as a folder that transformers, peft or onnxruntime loads, without this project."""

    run_id: Annotated[str | None, MostUsed(5)] = None
    """Run of the train stage (or the best trial of tune) whose model is exported."""
    model: Annotated[str | None, MostUsed(9)] = None
    """Instead of a run: a folder with a model that train wrote, or one of MLflow's registry, such as models:/NAME@champion."""
    format: Annotated[str, BeforeValidator(lambda name: str(name).replace("_", "-")), Choice(_list_formats), MostUsed(6)] = (
        "transformers"
    )
    """transformers: the whole model, adapters merged; peft: the adapter and the classifier alone; onnx: for onnxruntime, with
    every strategy and head; onnx-int8: the same with weights of 8 bits."""
    output: Annotated[str | None, MostUsed(7)] = None
    """Folder to write."""
    push: Annotated[str | None, Operational(), MostUsed(10)] = None
    """Also upload the folder to this repository of the Hugging Face hub (OWNER/NAME), with the token in HF_TOKEN. One that is
    not there is made, private."""
    force: Annotated[bool, Operational(), Files(4)] = False
    """Write --output anew where an earlier export stands, unchanged since."""
