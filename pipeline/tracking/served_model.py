"""What `mlflow models serve` and `mlflow.pyfunc.load_model` call to predict with a logged model."""

from typing import Any


def _load_pyfunc(path: str) -> "ServedModel":
    return ServedModel(path)


class ServedModel:
    """Predicts classes for texts with a model folder that training wrote."""

    def __init__(self, path: str) -> None:
        """Load base model, strategy and delta from `path`."""
        from pathlib import Path

        from pipeline.training.model_folder import load_model_folder

        self._model = load_model_folder(Path(path))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A DataFrame with `label` and one score per class, a row per text.

        Args:
            model_input: Texts as a list, a Series, or the first (or `text`) column of a DataFrame.
        """
        import pandas as pd

        if isinstance(model_input, pd.DataFrame):
            column = "text" if "text" in model_input.columns else model_input.columns[0]
            model_input = model_input[column]
        texts = [str(text) for text in model_input]
        scores = self._model.predict_texts(texts)
        frame = pd.DataFrame(scores, columns=[f"score_{name}" for name in self._model.classes])
        frame.insert(0, "label", [self._model.classes[best] for best in scores.argmax(axis=1)])
        return frame
