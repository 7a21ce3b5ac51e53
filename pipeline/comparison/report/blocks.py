"""The blocks of a report, independent of HTML and Markdown: sections of paragraphs, lists, tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Cell:
    """A field of a table."""

    text: str
    value: float | None = None
    """The number that it sorts by, NaN where it is empty; None of words."""
    link: str = ""
    """Where it leads; may be empty."""
    share: float | None = None
    """How dark it is shaded, from 0 to 1."""
    kind: Literal["", "long", "code"] = ""
    """Whether it is a whole text, or something to type."""


@dataclass(frozen=True)
class Table:
    """A table."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True
    named: bool = False
    """Whether the first column names the rows."""

    def is_text(self, column: int) -> bool:
        """Whether a column is of words."""
        return any(row[column].value is None for row in self.rows)


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True)
class Conclusion:
    """What follows from the figures, a paragraph each, set off from the rest."""

    paragraphs: Sequence[str]


@dataclass(frozen=True)
class BulletList:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Code:
    """What is typed in a terminal."""

    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing as HTML."""

    html: str
    caption: str


@dataclass(frozen=True)
class Charts:
    """Drawings beside each other, and the picture that stands for them where HTML does not go."""

    charts: Sequence[Chart]
    picture: str = ""


@dataclass(frozen=True)
class Collapsible:
    """What need not be seen at once."""

    summary: str
    blocks: Sequence[Block]


Block: TypeAlias = Paragraph | Conclusion | BulletList | Table | Code | Charts | Collapsible


@dataclass(frozen=True)
class Section:
    """A part of the report below a heading."""

    title: str
    blocks: Sequence[Block]
    anchor: str = ""
    """By which a link leads there, where the title is not the same in every report."""
