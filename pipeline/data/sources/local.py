"""Tables on this machine: a file, a folder with a file a part, or a file named for each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.config import SplitConfig
from pipeline.data.builder import Chosen
from pipeline.data.columns import LABEL, LABEL_NAMES, TEXT, TEXT_NAMES, choose_columns, find_label_column
from pipeline.data.reading.files import format_suffix
from pipeline.data.reading.inspection import describe_file
from pipeline.data.reading.tables import FORMATS, class_names, is_table_file, read_columns, text_kind
from pipeline.data.sources.base import PART_NAMES, Source, SourceTables, by_role
from pipeline.data.sources.datasets_library import cloned, is_cloned, saved
from pipeline.errors import DataError, enumerate_some, shorten
from pipeline.hashing import digest, hash_file


def local_file(path: Path, config: SplitConfig) -> Source:
    """One table, still to be cut."""
    where = f"--dataset {path}"
    _check_text_options({where: path}, config)

    def read() -> SourceTables:
        table, classes = _read(path, where, config)
        return SourceTables({"all": table}, classes)

    return Source(path.name, path.resolve().as_uri(), _identify(path, where), read)


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
    if "train" not in files and not messages and is_cloned(path):
        return cloned(path, config)
    if "train" not in files and not messages:
        messages.append(
            f"--dataset {path}: the folder holds no train.tsv, nor train.csv or the like. GLUE's layout is train.tsv, dev.tsv, "
            f"test.tsv; other endings are {', '.join(ending for ending in FORMATS if ending != '.tsv')}. "
            f"Or name the files: --train-file, --validation-file, --test-file.{_hint_at_folder(path)}"
        )
    if messages:
        raise DataError(*messages)
    options = {part: f"--dataset {file}" for part, file in files.items()}
    _check_text_options({options[part]: file for part, file in files.items()}, config)
    sha256 = digest({part: _identify(file, options[part]) for part, file in files.items()})
    return Source(
        path.resolve().name, path.resolve().as_uri(), sha256, lambda: _read_parts(files, options, config, may_lack=True)
    )


def _hint_at_folder(path: Path) -> str:
    """Where the parts lie, if one folder further down."""
    stems = PART_NAMES["train"]
    found = next((file for file in sorted(path.glob("*/*")) if is_table_file(file) and file.name.split(".")[0] in stems), None)
    return (
        f" There is {shorten(str(found.relative_to(path)))}: is --dataset {shorten(str(found.parent))} meant?" if found else ""
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
    _check_text_options({options[part]: file for part, file in files.items()}, config)
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
    named: dict[tuple[str, ...], str] = {}
    for part, file in files.items():
        try:
            parts[part], classes = _read(file, options[part], config, may_lack and part == "test")
            if classes:
                named.setdefault(classes, options[part])
        except _NoLabelColumnError:
            unlabelled.append(part)
        except DataError as error:
            messages += error.messages
    if not messages and len(named) > 1:
        (first, one), (second, other), *_ = named.items()
        messages.append(
            f"{one} and {other}: their schemas name the classes {enumerate_some(first, 5)} and {enumerate_some(second, 5)}, "
            "so equal numbers may mean different classes. Write the parts with the same class names in the same order."
        )
    if messages:
        raise DataError(*messages)
    return SourceTables(parts, next(iter(named), None), tuple(unlabelled))


class _NoLabelColumnError(Exception):
    """A part has no label column, and may lack one."""


def _read(path: Path, where: str, config: SplitConfig, may_lack: bool = False) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    """The columns that are used, of one file, under the names that they have here; and the classes that its schema names."""
    roles: dict[str, str] = {}

    def choose(columns: Sequence[str]) -> Chosen:
        if may_lack and find_label_column(columns, config) is None:
            raise _NoLabelColumnError
        found, chosen = choose_columns(columns, where, config)
        roles.update(found)
        return chosen

    try:
        columns = read_columns(path, where, choose, config.encoding, config.delimiter, not config.no_header)
    except DataError as error:
        seems = None if roles else describe_file(path, where, config)
        if seems is None:
            raise
        raise DataError(seems) from error
    table = by_role(roles, columns)
    if config.no_header:
        _check_first_row(table, where)
    return table, class_names(path, where).get(roles[LABEL])


def _check_first_row(table: pd.DataFrame, where: str) -> None:
    """Refuse a header that would be read as an example, of a class of its own.

    Raises:
        DataError: The first row holds the usual names of both columns.
    """
    first = table.iloc[0].astype(str).str.strip()
    if first[TEXT].lower() in TEXT_NAMES and first[LABEL].lower() in LABEL_NAMES:
        raise DataError(
            f"{where}: the first row holds {first[TEXT]!r} and {first[LABEL]!r}, which are names of columns. Leave --no-header "
            "out, and name columns as the header does."
        )


def _check_text_options(files: Mapping[str, Path], config: SplitConfig) -> None:
    """Refuse options of text files where there is none.

    Raises:
        DataError: They would say nothing.
    """
    kinds = {where: text_kind(path, where) for where, path in files.items()}
    idle = []
    if config.delimiter and "delimited" not in kinds.values():
        idle.append(f"--delimiter {config.delimiter}: {', '.join(kinds)} holds no delimited text. Leave --delimiter out.")
    if config.no_header and set(kinds.values()) == {"parquet"}:
        idle.append(f"--no-header true: {', '.join(kinds)} is Parquet, which always names its columns. Leave --no-header out.")
    if idle:
        raise DataError(*idle)


def _identify(path: Path, where: str) -> str:
    """The identity of a file: its content and how it is read."""
    try:
        named = ":named" if class_names(path, where) else ""
        return f"{hash_file(path)}:{format_suffix(path, where)}{named}"
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error}).") from error


def why_not_opened(error: Exception) -> str:
    """Why a path cannot be opened, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or shorten(str(error))
