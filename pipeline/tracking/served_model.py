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
            model_input: Texts as a list, a Series, or the first (or `text`) column of a DataFrame; pairs of texts as a list, or
                the first two (or `text` and `text_pair`) columns of a DataFrame.
        """
        import pandas as pd

        names = ("text", "text_pair") if self._model.problem.pairs else ("text",)
        if isinstance(model_input, pd.DataFrame):
            given = list(model_input.columns)
            if len(given) < len(names):
                raise ValueError(f"The model takes the columns {' and '.join(names)}, and got {', '.join(map(str, given))}.")
            chosen = names if set(names) <= set(given) else given[: len(names)]
            columns = [model_input[name].astype(str).tolist() for name in chosen]
        elif self._model.problem.pairs:
            columns = [[str(pair[side]) for pair in model_input] for side in range(2)]
        else:
            columns = [[str(text) for text in model_input]]
        inputs = list(zip(*columns, strict=True)) if self._model.problem.pairs else columns[0]
        return self._model.reading.answer(self._model.predict(inputs))
