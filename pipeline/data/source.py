"""What a kind of source is, what every kind gives, and how the one that `--dataset` names is found."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pyarrow as pa

from pipeline.config import SplitConfig
from pipeline.data.annotations.answers import ANNOTATION, ANSWER
from pipeline.data.columns import LABEL, TEXT
from pipeline.data.label_sets.cells import join_columns
from pipeline.data.labels import as_series
from pipeline.data.reading.files import check_encoding
from pipeline.errors import DataError, PluginError, enumerate_some, has_surrogate, shorten, unknown
from pipeline.registry import SOURCES

# GLUE calls its labelled validation part `dev`; its test labels are withheld.
PART_NAMES = {"train": ("train",), "validation": ("validation", "dev", "valid", "val"), "test": ("test",)}


@dataclass(frozen=True)
class Source:
    """Labelled text found but not yet read; its identity is known without reading it all."""

    name: str
    address: str
    sha256: str
    """Of the content, or of what pins it (a hub commit)."""
    read: Callable[[], SourceTables]
    option: str = ""
    """The option that named it, as typed; what error messages begin with. `--dataset` if empty."""


@dataclass(frozen=True)
class SourceTables:
    """The parts a source comes in, each with the columns `text` and `label`; class names where the source has them.

    Pairs have the column `text_pair` beside.
    """

    parts: dict[str, pd.DataFrame]
    classes: tuple[str, ...] | None = None
    unlabelled: tuple[str, ...] = ()
    """Parts that were left aside because they have no label column."""


def file_address(path: Path) -> str:
    """How a run names a file or folder of data: below the working folder by its path from there, as others have no other."""
    whole = path.resolve()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else whole.as_uri()


class SourceKind:
    """One kind of source, in a module of its own in this folder. Every kind is asked in the order of `priority`."""

    priority: ClassVar[int]
    """Lower ones are asked first: files named one by one 0, packaged data 10, folders from 20, files 30, the hub 40."""
    names: ClassVar[tuple[str, ...]] = ()
    """Names of data sets that this kind knows by themselves, offered where a name is none."""

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """Whether data of that name are of this kind; no kind after this one is asked then.

        Args:
            dataset: As `--dataset` gives it; empty where it was not given.
        """
        raise NotImplementedError

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """The source of that name, which this kind claims.

        Raises:
            DataError: It cannot be used.
        """
        raise NotImplementedError


def find_source(dataset: str, config: SplitConfig) -> Source:
    """Find the data that `--dataset` names, or `--train-file` and its like.

    Raises:
        DataError: Nothing of that name, or it cannot be used.
    """
    check_encoding(config.encoding)
    for name in (dataset, config.train_file, config.validation_file, config.test_file):
        if name and has_surrogate(name):
            raise DataError(f"--dataset: got {name!a}, a name that is not in UTF-8. Rename the file.")
    for kind in _kinds():
        if kind.claims(dataset, config):
            source = kind.find(dataset, config)
            option = source.option or f"--dataset {shorten(dataset)}"
            return replace(source, option=option, read=functools.partial(_read, type(kind), source.read))
    raise DataError(
        "--dataset: "
        + unknown("data set", shorten(dataset), named_datasets())
        + " Or give a file, a folder, or a hub id (OWNER/NAME)."
    )


def _read(kind: type[SourceKind], read: Callable[[], SourceTables]) -> SourceTables:
    """What a source reads.

    Raises:
        PluginError: A part lacks a column that its kind must give.
    """
    tables = read()
    for part, table in tables.parts.items():
        if missing := [name for name in (TEXT, LABEL) if name not in table]:
            raise PluginError(
                f"{kind.__module__}: class {kind.__name__} gives the part {part!r} without the column {' and '.join(missing)}, "
                f"but with {', '.join(map(str, table.columns)) or 'none'}. Rename its columns to {TEXT} and {LABEL}."
            )
    return tables


def named_datasets() -> tuple[str, ...]:
    """Data sets that are found by a name alone."""
    return tuple(name for kind in _kinds() for name in kind.names)


def _kinds() -> list[SourceKind]:
    """Every kind of source, in the order in which they are asked."""
    return sorted((SOURCES.only_class(name, SourceKind)() for name in SOURCES.names()), key=lambda kind: kind.priority)


@contextlib.contextmanager
def opening(dataset: str) -> Iterator[None]:
    """Within the block a path that cannot be opened is an error of the input."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # may not be read, is no possible name, or is ~NAME of nobody
        raise DataError(
            f"--dataset {shorten(dataset)}: cannot be opened: {why_not_opened(error)}. Give the path of a file or folder."
        ) from error


def why_not_opened(error: Exception) -> str:
    """Why a path cannot be opened, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or shorten(str(error))


def refuse_file_options(config: SplitConfig, name: str) -> None:
    """Refuse options of text files and spreadsheets where data come otherwise.

    Raises:
        DataError: They would say nothing.
    """
    given = {"--delimiter": config.delimiter, "--no-header": "true" if config.no_header else None, "--sheet": config.sheet}
    idle = [
        f"{option} {value}: {shorten(name)} is no {'spreadsheet' if option == '--sheet' else 'text file'}. Leave {option} out."
        for option, value in given.items()
        if value
    ]
    if idle:
        raise DataError(*idle)


def agreed_classes(named: Mapping[str, Sequence[str] | None]) -> tuple[str, ...] | None:
    """The class names of a source whose parts may name them, each for itself; None where none does.

    Args:
        named: Where a part was found, as messages begin -> its class names.

    Raises:
        DataError: Two parts name them differently.
    """
    where_of: dict[tuple[str, ...], str] = {}
    for where, classes in named.items():
        if classes:
            where_of.setdefault(tuple(classes), where)
    if len(where_of) > 1:
        (first, where), (second, other), *_ = where_of.items()
        raise DataError(
            f"{where} and {other}: their schemas name the classes {enumerate_some(first, 5)} and {enumerate_some(second, 5)}, "
            "so equal numbers may mean different classes. Write the parts with the same class names in the same order."
        )
    return next(iter(where_of), None)


def by_role(
    roles: Mapping[str, str], columns: Mapping[str, pa.ChunkedArray], where: str, label_columns: Sequence[str] = ()
) -> pd.DataFrame:
    """The columns that were read under the names that they have here, and what annotators said beside, if there is any.

    Args:
        roles: Role -> column.
        label_columns: Columns of 0 and 1 that together are the label.

    Raises:
        DataError: One of them holds something else.
    """
    read = {role: as_series(columns[column]) for role, column in roles.items()}
    if label_columns:
        read[LABEL] = as_series(join_columns({name: columns[name] for name in label_columns}, where))
    beside = [name for name in (ANSWER, ANNOTATION) if name in columns and name not in roles.values()]
    read |= {name: as_series(columns[name]) for name in beside}
    return pd.DataFrame(read)
