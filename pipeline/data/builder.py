"""The columns of a table that are used, put together chunk by chunk as its rows are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.annotations.answers import (
    ANNOTATION,
    ANSWER,
    RESPONSES,
    are_answers,
    is_left_out,
    read_annotation,
    read_answer,
    spread_responses,
)
from pipeline.data.label_sets.cells import LabelSets
from pipeline.data.labels import (
    NoLabelError,
    SeveralLabelsError,
    as_texts,
    read_label,
    scalars_as_texts,
    text_array,
    without_wrapping,
)
from pipeline.errors import DataError, enumerate_some, shorten

CHUNK = 20_000  # rows that are Python objects at a time


Stream = Callable[[Mapping[str, Sequence[Any]], Sequence[int]], None]


@dataclass(frozen=True)
class Chosen:
    """Of the columns that there are, those to read."""

    columns: Sequence[str]
    label: str | None = None
    """The one of them whose cells are labels."""
    answer: str | None = None
    """One beside them that may say which annotations were rejected; it is read under the name `answer`, and only if it does."""
    annotation: str | None = None
    """One beside them that tells annotations of one text from each other; it is read under the name `annotation`."""
    sets: LabelSets | None = None
    """How a cell of `label` holds any number of labels; None where it holds one."""
    stream: Stream | None = None
    """What takes the cells of some rows as they are read; they are then not kept, and the columns that are read stay empty."""

    @property
    def names(self) -> list[str]:
        """The columns whose cells are read."""
        return list(dict.fromkeys([*self.columns, *filter(None, (self.answer, self.annotation))]))


Choose = Callable[[Sequence[str]], Chosen]


@dataclass
class TableBuilder:
    """Cells in, columns of texts out."""

    chosen: Chosen
    where: str
    say_row: Callable[[int], str] = "row {}".format
    """How messages name a row by its number."""
    rows: list[int] = field(default_factory=list)
    """Where a row may hold several responses, the number of the row that each row of the columns comes from."""
    _chunks: dict[str, list[pa.Array]] = field(default_factory=dict)
    _answers: set[str | None] = field(default_factory=set)
    _strange_answers: bool = False
    """Whether the column called so holds something else, such as answers to questions; then they are not kept."""
    _unread: dict[bool, tuple[int, ValueError]] = field(default_factory=dict)
    """The first cell that holds no single label, of rows that may be left out and of others, with the row's number."""
    _several: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})

    @property
    def spreads(self) -> bool:
        """Whether a cell of the label column holds a response of each annotator."""
        return str(self.chosen.label).endswith(RESPONSES)

    @property
    def names(self) -> list[str]:
        """The columns whose cells are to be added."""
        return self.chosen.names

    def read_cell(self, name: str, cell: Any) -> Any:
        """A cell of a text file or a sheet: an empty one is missing, but where a cell is a set of labels."""
        return None if cell == "" and not (self.chosen.sets and name == self.chosen.label) else cell

    def add(self, cells: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> None:
        """Take the cells of some rows.

        Args:
            cells: By name, those of `names`.
            rows: The number of each row.

        Raises:
            DataError: A value is no text, number or truth value.
        """
        if self.chosen.stream:
            if rows:
                self.chosen.stream(cells, rows)
            return
        if self.spreads:
            cells, origin = spread_responses(cells, str(self.chosen.label))
            rows = [rows[place] for place in origin]
            self.rows.extend(rows)
        answers: list[str | None] = [None] * len(rows)
        if self.chosen.answer:
            answers = [read_answer(cell) for cell in cells[self.chosen.answer]]
            if not self._strange_answers:
                self._answers.update(answers)
                self._strange_answers = not are_answers(self._answers)
                self._chunks.setdefault(ANSWER, []).append(pa.array(answers, pa.large_string()))
        if self.chosen.annotation:
            said = [read_annotation(cell, self.chosen.annotation) for cell in cells[self.chosen.annotation]]
            self._chunks.setdefault(ANNOTATION, []).append(text_array(said, self.where, self.chosen.annotation, rows))
        for name in self.chosen.columns:
            if name == self.chosen.label:
                labels = [self._read_label(*item) for item in zip(cells[name], rows, answers, strict=True)]
                array = text_array(labels, self.where, name, rows)
            else:
                array = scalars_as_texts(cells[name], self.where, name, rows)
            self._chunks.setdefault(name, []).append(array)

    def finish(self) -> dict[str, pa.ChunkedArray]:
        """The columns; `answer` among them if it is what annotation tools write.

        Raises:
            DataError: A cell of the label column holds several labels, or something else.
        """
        answered = bool(self._answers - {None}) and not self._strange_answers
        unread = [self._unread[key] for key in (False, True) if key in self._unread and not (key and answered)]
        if unread:
            raise self._complain(*min(unread, key=lambda item: item[0]), others=not answered)
        names = [*self.chosen.columns, *([ANSWER] if answered else []), *([ANNOTATION] if self.chosen.annotation else [])]
        return {name: pa.chunked_array(self._chunks.get(name, []), pa.large_string()) for name in names}

    def _read_label(self, cell: Any, row: int, answer: str | None) -> str | None:
        try:
            return self.chosen.sets.read(cell) if self.chosen.sets else read_label(cell)
        except (SeveralLabelsError, NoLabelError) as error:
            left_out = is_left_out(answer)
            self._unread.setdefault(left_out, (row, error))
            self._several[left_out] += isinstance(error, SeveralLabelsError)
            return None

    def _complain(self, row: int, error: ValueError, others: bool) -> DataError:
        start = f"{self.where}: {self.say_row(row)}: {shorten(str(self.chosen.label))!r} holds"
        if not isinstance(error, SeveralLabelsError):
            return DataError(f"{start} {error}, not a text or a class. Name another column.")
        more = self._several[False] + (self._several[True] if others else 0) - 1
        also = f", as {'does' if more == 1 else 'do'} {more:,} more row{'s' * (more > 1)}" if more else ""
        return DataError(
            f"{start} {len(error.labels)} labels ({enumerate_some(error.labels, 5)}){also}; one class per text is needed. "
            "If texts have several labels, add --label-type multi; else keep one in each row, or leave such rows out."
        )


def read_arrow(table: pa.Table, chosen: Chosen, where: str) -> dict[str, pa.ChunkedArray]:
    """The chosen columns of a table in Arrow. Only labels that may be lists become Python objects on the way.

    Raises:
        DataError: A column holds no texts, numbers or truth values, or a label cell no single label.
    """
    built: dict[str, pa.ChunkedArray] = {}
    beside = chosen.answer or chosen.annotation
    if beside or (chosen.label and (chosen.sets or _may_hold_lists(table.column(chosen.label)))):
        builder = TableBuilder(replace(chosen, columns=[chosen.label] if chosen.label else []), where)
        for start in range(0, table.num_rows, CHUNK):
            chunk = table.slice(start, CHUNK)
            cells = {name: without_wrapping(chunk.column(name)).to_pylist() for name in builder.names}
            builder.add(cells, range(start + 1, start + 1 + chunk.num_rows))
        built = builder.finish()
        table = table.take(np.array(builder.rows, np.int64) - 1) if builder.spreads else table
    rest = {name: as_texts(table.column(name), where, name) for name in chosen.columns if name not in built}
    return built | rest


def _may_hold_lists(column: pa.ChunkedArray) -> bool:
    column = without_wrapping(column)
    if pa.types.is_nested(column.type):
        return True
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)):
        return False
    return bool(pc.any(pc.match_substring_regex(column.cast(pa.large_string()), r"^\s*[\[{]")).as_py())
