"""What `mlflow models serve` and `mlflow.pyfunc.load_model` call to predict with a logged model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from pipeline.errors import enumerate_some, has_surrogate, shorten
from pipeline.training.saved_model import load_model_folder

_SINGLE, _PAIR = ("text",), ("text", "text_pair")
TOKENS_CUT = "tokens_cut"
"""Column of an answer: how many tokens of the text the model did not read, because it was too long."""

LONGEST = 100_000
"""Characters of a text that is answered; no encoder reads more than a tenth of that at once, and 260 windows read it all."""


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(path)


class RefusedInputError(MlflowException, ValueError):  # type: ignore[misc]
    """What was given is no text, or pairs of texts; over HTTP status 400 and this one sentence."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason, error_code=INVALID_PARAMETER_VALUE)  # type: ignore[call-arg]

    def serialize_as_json(self) -> str:
        """The answer's body: MLflow's scoring server puts all that was sent before the reason, and that may be megabytes."""
        self.message = str(self.args[0])
        body: str = super().serialize_as_json()
        return body


class ServedModel:
    """Predicts classes or scores for texts, or pairs of texts, with a saved model."""

    def __init__(self, path: str) -> None:
        """Load base model, strategy and delta from `path`."""
        self._model = load_model_folder(Path(path))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A DataFrame with a row per text or pair, in their order.

        Columns are `label` and one score per class, or the one score that there is, and `tokens_cut`, how many tokens of the
        text were not read. Spaces at both ends of a text are not read either, as in training.

        Args:
            model_input: A text; texts as a list, array or Series; a dict with the key `text`, or a list of such dicts; or a
                DataFrame with the column `text`, or with one column under another name. Pairs of texts as a list of pairs, or
                with the key or column `text_pair` beside. Further keys and columns are ignored.

        Raises:
            RefusedInputError: A shape or column that is not known, or a text that is missing, empty or no text.
        """
        columns = read_columns(model_input, _PAIR if self._model.problem.pairs else _SINGLE)
        inputs = list(zip(*columns, strict=True)) if self._model.problem.pairs else columns[0]
        outputs, cut = self._model.predict_and_count(inputs)
        answer: pd.DataFrame = self._model.task.answer(outputs)
        return answer.assign(**{TOKENS_CUT: cut})


def read_columns(given: Any, names: tuple[str, ...]) -> list[list[str]]:
    """The texts, and of pairs the second texts beside, stripped; all columns have as many.

    Args:
        given: Whatever MLflow hands over.
        names: Of the columns.

    Raises:
        RefusedInputError: It holds no texts under these names, or a text is missing, empty or no text.
    """
    columns = [_as_list(column) for column in _find_columns(given, names)]
    if len({len(column) for column in columns}) > 1:
        counts = " and ".join(f"{len(column)} under {name!r}" for name, column in zip(names, columns, strict=True))
        raise RefusedInputError(f"There must be as many first as second texts, and there are {counts}.")
    if not columns[0]:
        raise RefusedInputError("There is no text to predict for.")
    return [[_check_text(value, row, column) for row, value in enumerate(column)] for column in columns]


def _find_columns(given: Any, names: tuple[str, ...]) -> Sequence[Any]:
    if isinstance(given, pd.DataFrame):
        return _columns_of_frame(given, names)
    if isinstance(given, Mapping):
        _check_keys(given, names, "What was sent: ")
        return [given[name] for name in names]
    items: list[Any] = [given] if isinstance(given, str) else _as_list(given)
    if any(isinstance(item, Mapping) for item in items):
        for row, item in enumerate(items):
            _check_keys(item, names, f"Row {row}: ")
        return [[item[name] for item in items] for name in names]
    if len(names) == 1:
        return [items]
    pairs = [list(item) if isinstance(item, (list, tuple, np.ndarray)) else [] for item in items]
    if any(len(pair) != len(names) for pair in pairs):
        raise RefusedInputError('The model takes pairs of texts, such as [["a film", "a movie"]].')
    return [[pair[side] for pair in pairs] for side in range(len(names))]


def _columns_of_frame(frame: pd.DataFrame, names: tuple[str, ...]) -> list[Any]:
    given = list(frame.columns)
    if set(names) <= set(given):
        if any(given.count(name) > 1 for name in names):
            raise RefusedInputError(f"A column stands twice: {_listed(given)}.")
        return [frame[name] for name in names]
    if len(given) != len(names):
        raise RefusedInputError(
            f"The model takes the columns {' and '.join(names)}, and got {_listed(given)}. Rename what holds the texts, or "
            "pass nothing else."
        )
    if strange := next((name for name in given if isinstance(name, str) and any(map(str.isspace, name))), None):
        raise RefusedInputError(
            f"The first line, {shorten(strange)!r}, looks like a text and not like the name of a column: is the header "
            f"{','.join(names)} missing?"
        )
    return [frame.iloc[:, place] for place in range(len(names))]


def _check_keys(given: Any, names: tuple[str, ...], where: str) -> None:
    if not isinstance(given, Mapping):
        raise RefusedInputError(f"{where}{_kind(given)} stands among objects with the keys {' and '.join(names)}.")
    if missing := [name for name in names if name not in given]:
        raise RefusedInputError(
            f"{where}texts must stand under {' and '.join(map(repr, names))}, and {' and '.join(map(repr, missing))} is not "
            f"among the keys {_listed(given)}."
        )


def _as_list(column: Any) -> list[Any]:
    """The values of a column, of one that holds lists of one value each the values in these.

    Raises:
        RefusedInputError: It is no column.
    """
    if isinstance(column, (str, bytes)) or column is None or isinstance(column, Mapping):
        return [column]
    if isinstance(column, np.ndarray):
        column = column.tolist() if column.ndim else [column.item()]
    elif isinstance(column, pd.Series):
        column = column.tolist()
    if not isinstance(column, Iterable):
        return [column]
    return [_unwrap(item) for item in column]


def _unwrap(item: Any) -> Any:
    """What an array of no dimension or a list of one value holds; anything else as it is."""
    if isinstance(item, np.ndarray):
        item = item.tolist()
    return item[0] if isinstance(item, list) and len(item) == 1 else item


def _check_text(value: Any, row: int, column: Sequence[Any]) -> str:
    if not isinstance(value, str):
        count = sum(not isinstance(other, str) for other in column)
        raise RefusedInputError(f"Row {row} has no text, but {_kind(value)} ({count} such row{'s' if count > 1 else ''}).")
    if len(value) > LONGEST:
        raise RefusedInputError(
            f"Row {row} has a text of {len(value):,} characters, and at most {LONGEST:,} are taken. Send the part that matters."
        )
    text = value.strip()
    if not text:
        raise RefusedInputError(f"Row {row} has an empty text, and the model has learned from texts alone.")
    if has_surrogate(text):
        raise RefusedInputError(f"Row {row} holds half of a surrogate pair, which is no character.")
    return str(text)


def _kind(value: Any) -> str:
    """A value that is no text, short enough for a message."""
    return shorten(repr(value)) if value is None or isinstance(value, (int, float)) else f"a {type(value).__name__}"


def _listed(names: Iterable[Any]) -> str:
    return enumerate_some([str(name) for name in names]) or "none"
