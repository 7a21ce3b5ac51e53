"""What every kind of source gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from pipeline.config import SplitConfig
from pipeline.data.labels import ANSWER, as_series
from pipeline.errors import DataError, shorten

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
    """The option that named it, as typed; what error messages begin with."""


@dataclass(frozen=True)
class SourceTables:
    """The parts a source comes in, each with the columns `text` and `label`; class names where the source has them.

    Pairs have the column `text_pair` beside.
    """

    parts: dict[str, pd.DataFrame]
    classes: tuple[str, ...] | None = None
    unlabelled: tuple[str, ...] = ()
    """Parts that were left aside because they have no label column."""


def refuse_text_options(config: SplitConfig, name: str) -> None:
    """Refuse options of text files where data come otherwise.

    Raises:
        DataError: They would say nothing.
    """
    given = {"--delimiter": config.delimiter, "--no-header": "true" if config.no_header else None}
    idle = [
        f"{option} {value}: {shorten(name)} is no text file. Leave {option} out." for option, value in given.items() if value
    ]
    if idle:
        raise DataError(*idle)


def by_role(roles: Mapping[str, str], columns: Mapping[str, pa.ChunkedArray]) -> pd.DataFrame:
    """The columns that were read under the names that they have here, annotators' answers among them if there are any.

    Args:
        roles: Role -> column.
    """
    read = {role: as_series(columns[column]) for role, column in roles.items()}
    if ANSWER in columns and ANSWER not in roles.values():
        read[ANSWER] = as_series(columns[ANSWER])
    return pd.DataFrame(read)
