"""What a folder of sentence-transformers says of how a text's token states become one vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.given_paths import is_file
from pipeline.json_text import parse_json

MODULES = "modules.json"
_OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Up to version 5; later ones write `pooling_mode`."""
_OF_NO_WEIGHT = ("Transformer", "Pooling", "Normalize")
"""Modules that are read here, or that change no cosine similarity."""


@dataclass(frozen=True)
class PoolingConfig:
    """The pooling that a model's vectors were trained with."""

    name: str
    """As `--pooling` has it, or one that there is not; several that are put side by side are joined by a plus."""
    file: str
    """Where that stands, in the folder."""
    unread: tuple[str, ...] = ()
    """Modules after it that change the vectors, and are not read here, such as `2_Dense`."""


def read_pooling(folder: Path) -> PoolingConfig | None:
    """What the folder says; None where it is none of sentence-transformers, or says nothing that can be read."""
    modules = _read_modules(folder)
    files = pooling_files(folder)
    if len(files) < 2:
        return None
    content = _read(files[1])
    modes = content.get("pooling_mode") if isinstance(content, dict) else None
    if isinstance(content, dict) and modes is None:
        modes = [name for option, name in _OLD_NAMES.items() if content.get(option) is True]
    names = [modes] if isinstance(modes, str) else modes
    if not isinstance(names, list) or not names:
        return None
    unread = tuple(path for path, kind in modules if kind not in _OF_NO_WEIGHT)
    return PoolingConfig("+".join(map(str, names)), files[1].relative_to(folder).as_posix(), unread)


def pooling_files(folder: Path) -> list[Path]:
    """The list of modules and the settings of the one that pools; none where either is missing."""
    files = [folder / path / "config.json" for path, kind in _read_modules(folder) if kind == "Pooling"]
    return [folder / MODULES, files[0]] if files and is_file(files[0]) else []


def _read_modules(folder: Path) -> list[tuple[str, str]]:
    """Subfolder and class of each module, in their order."""
    content = _read(folder / MODULES)
    modules = [module for module in content if isinstance(module, dict)] if isinstance(content, list) else []
    # A model's folder is nobody's word: a path out of it is none.
    paths = [(str(module.get("path", "")), str(module.get("type", "")).rpartition(".")[2]) for module in modules]
    return [(path, kind) for path, kind in paths if path == Path(path or ".").name or not path]


def _read(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError):
        return None
