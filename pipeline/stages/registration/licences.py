"""Under which licences a model's base and its data stand, where that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from pipeline.given_paths import expand
from pipeline.hub import ask_licence, parse_dataset_address, read_licence
from pipeline.modeling.model_sources import find_licence
from pipeline.tracking.runs import Run

_PIP = "pip:"  # before the package in the address of data


def licence_of_base(run: Run) -> str:
    """That of the encoder a run was trained from; empty where nobody says, and of a baseline."""
    return find_licence(run.params.get("model", ""), run.params.get("model_revision"))


def licence_of_data(run: Run, manifest: Mapping[str, Any]) -> str:
    """That of the data a run was trained on; empty where nobody says.

    Args:
        manifest: What the run says of its prepared data.
    """
    address = str(manifest.get("address", ""))
    if address.startswith(_PIP):
        return _of_package(address.removeprefix(_PIP).partition("==")[0])
    if repository := parse_dataset_address(address):
        return ask_licence(*repository, "dataset")
    local = expand(run.params.get("dataset", ""))  # nobody elsewhere is asked for a name of this machine
    if not run.params.get("dataset") or not local.exists():
        return ""
    return read_licence(local if local.is_dir() else local.parent)


def _of_package(name: str) -> str:
    """What a package that is installed says in its metadata."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return ""
    licence = next((said[field] for field in ("License-Expression", "License") if field in said), "")
    return f"{licence} (of the package {name})" if licence else ""
