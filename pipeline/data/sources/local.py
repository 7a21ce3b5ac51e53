"""Tables on this machine: a file, a folder with a file a part, or a file named for each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.config import SplitConfig
from pipeline.data.columns import find_columns, find_label_column
from pipeline.data.files import format_suffix
from pipeline.data.sources.base import PART_NAMES, Source, SourceTables
from pipeline.data.sources.datasets_library import saved
from pipeline.data.tables import FORMATS, is_table_file, read_table
from pipeline.errors import DataError, shorten
from pipeline.hashing import digest, hash_file


def local_file(path: Path, config: SplitConfig) -> Source:
    """One table, still to be cut."""

    def read() -> SourceTables:
        return SourceTables({"all": _read(path, f"--dataset {path}", config)})

    return Source(path.name, path.resolve().as_uri(), _identify(path, f"--dataset {path}"), read)


def local_folder(path: Path, config: SplitConfig) -> Source:
    """A folder with a file a part, in GLUE's layout or another, or one that the library datasets saved."""
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return saved(path, config)
    files: dict[str, Path] = {}
    messages: list[str] = []
    entries = [entry for entry in sorted(path.iterdir()) if entry.is_file() and is_table_file(entry)]
    for part, stems in PART_NAMES.items():
        found = [entry for entry in entries if entry.name.lower().split(".")[0] in stems]
        if len(found) > 1:
            names = ", ".join(entry.name for entry in found)
            messages.append(f"--dataset {path}: holds {len(found)} files for the {part} part: {names}. Keep one.")
        elif found:
            files[part] = found[0]
    if "train" not in files and not messages:
        messages.append(
            f"--dataset {path}: the folder holds no train.tsv, nor train.csv or the like. GLUE's layout is train.tsv, dev.tsv, "
            f"test.tsv; other endings are {', '.join(ending for ending in FORMATS if ending != '.tsv')}. "
            "Or name the files: --train-file, --validation-file, --test-file."
        )
    if messages:
        raise DataError(*messages)
    options = {part: f"--dataset {file}" for part, file in files.items()}
    sha256 = digest({part: _identify(file, options[part]) for part, file in files.items()})
    return Source(
        path.resolve().name, path.resolve().as_uri(), sha256, lambda: _read_parts(files, options, config, may_lack=True)
    )


def part_files(dataset: str, config: SplitConfig) -> Source:
    """A file for each of train, validation and test, each named by an option."""
    given = {"train": config.train_file, "validation": config.validation_file, "test": config.test_file}
    named = {part: name for part, name in given.items() if name}
    options = {part: f"--{part}-file {shorten(name)}" for part, name in named.items()}
    messages: list[str] = []
    if "train" not in named:
        messages.append(f"{', '.join(options.values())}: needs --train-file as well: nothing is trained on the other parts.")
    elif dataset not in ("", named["train"]):
        messages.append(f"--dataset {shorten(dataset)} and {options['train']}: which of them? Give one.")
    files: dict[str, Path] = {}
    for part, name in named.items():
        try:
            file = Path(name).expanduser()
            if file.is_file():
                files[part] = file
            else:
                messages.append(f"{options[part]}: no such file. Relative paths start at {Path.cwd()}.")
        except (OSError, RuntimeError, ValueError) as error:
            messages.append(f"{options[part]}: cannot be opened: {why_not_opened(error)}. Give the path of a file.")
    if len({file.resolve() for file in files.values()}) < len(files):  # however they were typed
        messages.append(
            f"{', '.join(options.values())}: the same file twice. A model cannot be tested on what it was trained on."
        )
    if messages:
        raise DataError(*messages)
    sha256 = digest({part: _identify(file, options[part]) for part, file in files.items()})
    path = files["train"]
    return Source(
        path.name,
        path.resolve().as_uri(),
        sha256,
        lambda: _read_parts(files, options, config, may_lack=False),
        options["train"],
    )


def _read_parts(files: Mapping[str, Path], options: Mapping[str, str], config: SplitConfig, may_lack: bool) -> SourceTables:
    """Read a file a part. Parts may name their text column differently: each is looked up by itself.

    Args:
        may_lack: Leave a test part without label column aside, as GLUE publishes it.
    """
    parts: dict[str, pd.DataFrame] = {}
    messages: list[str] = []
    unlabelled: list[str] = []
    for part, file in files.items():
        try:
            parts[part] = _read(file, options[part], config, may_lack and part == "test")
        except _NoLabelColumnError:
            unlabelled.append(part)
        except DataError as error:
            messages += error.messages
    if messages:
        raise DataError(*messages)
    return SourceTables(parts, unlabelled=tuple(unlabelled))


class _NoLabelColumnError(Exception):
    """A part has no label column, and may lack one."""


def _read(path: Path, where: str, config: SplitConfig, may_lack: bool = False) -> pd.DataFrame:
    """The columns that are used, of one file, under the names that they have here."""
    found: dict[str, str] = {}

    def choose(columns: Sequence[str]) -> list[str]:
        if may_lack and find_label_column(columns, config) is None:
            raise _NoLabelColumnError
        found.update(find_columns(columns, where, config))
        return list(dict.fromkeys(found.values()))  # the text itself may be the group

    table = read_table(path, where, choose, config.encoding)
    return pd.DataFrame({role: table[column] for role, column in found.items()})


def _identify(path: Path, where: str) -> str:
    """The identity of a file: its content and how it is read."""
    try:
        return f"{hash_file(path)}:{format_suffix(path, where)}"
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error}).") from error


def why_not_opened(error: Exception) -> str:
    """Why a path cannot be opened, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or shorten(str(error))
