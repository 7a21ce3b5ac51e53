"""What `mlflow models serve` and `mlflow.pyfunc.load_model` call to predict with a logged model."""

from typing import Any


def _load_pyfunc(path: str) -> "ServedModel":
    return ServedModel(path)


class ServedModel:
    """Predicts classes or scores for texts, or pairs of texts, with a model folder that training wrote."""

    def __init__(self, path: str) -> None:
        """Load base model, strategy and delta from `path`."""
        from pathlib import Path

        from pipeline.training.model_folder import load_model_folder

        self._model = load_model_folder(Path(path))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A DataFrame with `label` and one score per class, or the one score that there is, a row per text or pair.

        Args:
            model_input: A text, texts as a list or Series, or a DataFrame with the column `text`; pairs of texts as a list,
                or a DataFrame with the columns `text` and `text_pair`. One that has no other columns may name them otherwise.

        Raises:
            ValueError: The columns are not known, a text is missing, or there is none.
        """
        columns = self._columns(model_input)
        for values in columns:
            missing = [number for number, value in enumerate(values) if not isinstance(value, str)]
            if missing:
                raise ValueError(f"Row {missing[0]} has no text, but {values[missing[0]]!r} ({len(missing)} such rows).")
        if not columns[0]:
            raise ValueError("There is no text to predict for.")
        inputs = list(zip(*columns, strict=True)) if self._model.problem.pairs else columns[0]
        return self._model.reading.answer(self._model.predict(inputs))

    def _columns(self, model_input: Any) -> list[list[Any]]:
        """The texts, and of pairs the second texts beside."""
        import pandas as pd

        names = ("text", "text_pair") if self._model.problem.pairs else ("text",)
        if isinstance(model_input, pd.DataFrame):
            given = list(model_input.columns)
            if not set(names) <= set(given) and len(given) != len(names):
                raise ValueError(
                    f"The model takes the columns {' and '.join(names)}, and got {', '.join(map(str, given))}. "
                    "Rename what holds the texts, or pass nothing else."
                )
            return [model_input[name].tolist() for name in (names if set(names) <= set(given) else given)]
        if self._model.problem.pairs:
            if isinstance(model_input, str) or any(isinstance(pair, str) or len(pair) != 2 for pair in model_input):
                raise ValueError('The model takes pairs of texts, such as [("a film", "a movie")].')
            return [[pair[side] for pair in model_input] for side in range(2)]
        return [[model_input] if isinstance(model_input, str) else list(model_input)]
