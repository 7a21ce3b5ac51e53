"""A table in a file of this machine; and what files that are the parts of a data set share with it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.config import ReadingConfig, SplitConfig
from pipeline.data.annotations.answers import ANNOTATION
from pipeline.data.builder import Chosen
from pipeline.data.columns import LABEL, LABEL_NAMES, TEXT, TEXT_NAMES, choose_columns, find_label_column
from pipeline.data.reading.files import format_suffix, list_members, unpack_members
from pipeline.data.reading.inspection import describe_file
from pipeline.data.reading.tables import class_names, file_kind, is_table_file, read_columns
from pipeline.data.source import PART_NAMES, Source, SourceKind, SourceTables, agreed_classes, by_role, file_address, opening
from pipeline.errors import DataError, shorten
from pipeline.hashing import digest, hash_file


class File(SourceKind):
    """One table, still to be cut."""

    priority = 30

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """What is there, or is written as a path."""
        with opening(dataset):
            path = Path(dataset).expanduser()
            return path.exists() or is_table_file(path) or dataset.startswith((".", "/", "~"))

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """The file.

        Raises:
            DataError: There is none, or it cannot be opened.
        """
        with opening(dataset):
            path = Path(dataset).expanduser()
            if path.is_file():
                return _one_table(path, config)
            there = path.exists()
        if there:
            raise DataError(f"--dataset {shorten(dataset)}: is neither a file nor a folder. Give one.")
        raise DataError(f"--dataset {shorten(dataset)}: no such file. Relative paths start at {Path.cwd()}.")


def _one_table(path: Path, config: SplitConfig) -> Source:
    where = f"--dataset {path}"
    check_options({where: path}, config)

    def read() -> SourceTables:
        table, classes = (_read_members if _is_split(path, where) else _read)(path, where, config)
        return SourceTables({"all": table}, classes)

    return Source(path.name, file_address(path), _identify(path, where), read)


def _is_split(path: Path, where: str) -> bool:
    """Whether a zip file holds a table in several text files, such as doccano makes for annotators; not the parts of data."""
    if path.suffix.lower() != ".zip" or file_kind(path, where) not in ("delimited", "json"):
        return False
    names = list_members(path, where)
    parts = {stem for stems in PART_NAMES.values() for stem in stems}
    return len(names) > 1 and not any(Path(name).name.lower().split(".")[0] in parts for name in names)


def _read_members(path: Path, where: str, config: SplitConfig) -> tuple[pd.DataFrame, None]:
    """The rows of all files in a zip file. Annotations are told apart by the file they are in, where it does not say more."""
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for name, file in unpack_members(path, where, Path(folder)):
            table, _ = _read(file, f"{where} ({shorten(name)})", config)
            tables.append(table if ANNOTATION in table else table.assign(**{ANNOTATION: f"by {Path(name).stem}"}))
    return pd.concat(tables, ignore_index=True), None


def check_parts(files: Mapping[str, Path], options: Mapping[str, str], config: SplitConfig) -> str:
    """Look at files that are a part each; returns the identity of all together.

    Args:
        files: Part -> file.
        options: Part -> the option that named it, as typed.

    Raises:
        DataError: An option would say nothing, or a file cannot be read.
    """
    check_options({options[part]: file for part, file in files.items()}, config)
    return digest({part: _identify(file, options[part]) for part, file in files.items()})


def read_parts(files: Mapping[str, Path], options: Mapping[str, str], config: SplitConfig, may_lack: bool) -> SourceTables:
    """Read a file a part. Parts may name their text column differently: each is looked up by itself.

    Args:
        may_lack: Leave a test part without label column aside, as GLUE publishes it.
    """
    parts: dict[str, pd.DataFrame] = {}
    messages: list[str] = []
    unlabelled: list[str] = []
    named: dict[str, tuple[str, ...] | None] = {}
    for part, file in files.items():
        try:
            parts[part], named[options[part]] = _read(file, options[part], config, may_lack and part == "test")
        except _NoLabelColumnError:
            unlabelled.append(part)
        except DataError as error:
            messages += error.messages
    if messages:
        raise DataError(*messages)
    return SourceTables(parts, agreed_classes(named), tuple(unlabelled))


class _NoLabelColumnError(Exception):
    """A part has no label column, and may lack one."""


def _read(path: Path, where: str, config: SplitConfig, may_lack: bool = False) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    """The columns that are used, of one file, under the names that they have here; and the classes that its schema names."""
    roles: dict[str, str] = {}

    def choose(columns: Sequence[str]) -> Chosen:
        if may_lack and find_label_column(columns, config) is None:
            raise _NoLabelColumnError
        column_of, chosen = choose_columns(columns, where, config)
        roles.update(column_of)
        return chosen

    try:
        columns = read_columns(path, where, choose, config.encoding, config.delimiter, not config.no_header, config.sheet)
    except DataError as error:
        seems = None if roles else describe_file(path, where, config)
        if seems is None:
            raise
        raise DataError(seems) from error
    table = by_role(roles, columns, where, config.label_columns)
    if config.no_header:
        _check_first_row(table, where)
    return table, config.label_columns or class_names(path, where).get(roles[LABEL])


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


def check_options(files: Mapping[str, Path], config: ReadingConfig) -> None:
    """Refuse options of text files and spreadsheets where there is none.

    Raises:
        DataError: They would say nothing.
    """
    kinds = {where: file_kind(path, where) for where, path in files.items()}
    idle = []
    if config.delimiter and "delimited" not in kinds.values():
        idle.append(f"--delimiter {config.delimiter}: {', '.join(kinds)} holds no delimited text. Leave --delimiter out.")
    if config.no_header and set(kinds.values()) == {"parquet"}:
        idle.append(f"--no-header true: {', '.join(kinds)} is Parquet, which always names its columns. Leave --no-header out.")
    if config.sheet and "spreadsheet" not in kinds.values():
        idle.append(f"--sheet {shorten(config.sheet)}: {', '.join(kinds)} is no spreadsheet. Leave --sheet out.")
    if idle:
        raise DataError(*idle)


def _identify(path: Path, where: str) -> str:
    """The identity of a file: its content and how it is read."""
    try:
        named = ":named" if class_names(path, where) else ""
        return f"{hash_file(path)}:{format_suffix(path, where)}{named}"
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error}).") from error
