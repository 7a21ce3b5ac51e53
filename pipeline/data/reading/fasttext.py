"""Read fastText's lines, `__label__positive a fine film`, also as doccano writes them."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.data.builder import CHUNK, Choose, TableBuilder
from pipeline.data.reading.files import read_lines
from pipeline.errors import DataError

_LABEL = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")
_COMMENTS = re.compile(r"(?:^|\s)__comment__.*$", re.DOTALL)  # doccano's, after the text
_LOOKED_AT = 200  # lines
_LINE = re.compile(r'"?\s*__label__[^\s,;|]+[ \t]+\S')


def is_fasttext(lines: Iterable[str]) -> bool:
    """Whether a file begins with a label as fastText writes it; or, as doccano writes a text without one, with a space."""
    lines = iter(lines)
    first = next(lines, "")
    return bool(_LINE.match(first)) or (
        first.startswith((" ", '" ')) and any(map(_LINE.match, itertools.islice(lines, _LOOKED_AT)))
    )


def read_fasttext(path: Path, where: str, choose: Choose, encoding: str | None) -> dict[str, pa.ChunkedArray]:
    """Lines of labels and a text as the columns `label` and `text`, which may be called 1 and 2 as well.

    Raises:
        DataError: A quotation mark that doccano wrote is not closed, or a line has several labels.
    """
    chosen = choose(["label", "text", "1", "2"])
    builder = TableBuilder(chosen, where, "line {}".format)
    chunk: list[tuple[int, list[str], str]] = []

    def flush() -> None:
        labels, texts = [labels for _, labels, _ in chunk], [text for _, _, text in chunk]
        cells: dict[str, Sequence[Any]] = {"label": labels, "1": labels, "text": texts, "2": texts}
        builder.add({name: cells[name] for name in builder.names}, [number for number, _, _ in chunk])
        chunk.clear()

    by_doccano = any(line.startswith(('"__label__', '" ')) for line in read_lines(path, where, encoding))
    lines = _unquoted(path, where, encoding) if by_doccano else enumerate(read_lines(path, where, encoding), start=1)
    for number, line in lines:
        if not line.isspace():
            text = _COMMENTS.sub("", line)
            chunk.append((number, _LABEL.findall(text), _LABEL.sub("", text).strip()))
        if len(chunk) == CHUNK:
            flush()
    flush()
    return builder.finish()


def _unquoted(path: Path, where: str, encoding: str | None) -> Iterator[tuple[int, str]]:
    """What doccano means: it writes lines as CSV, so one with a comma, a quotation mark or a line break in it is quoted."""
    reader = csv.reader(read_lines(path, where, encoding), strict=True)
    number = 1
    try:
        for fields in reader:
            yield number, ",".join(fields)
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f'{where}: line {number} cannot be read: {error}. Lines such as "__label__..." are read as doccano writes them, '
            "quoted like CSV. Is a quotation mark not closed?"
        ) from error
