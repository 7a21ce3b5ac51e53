"""A whole model for transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.columns import Input
from pipeline.stages.exporting.format import Exportable, Format, answer_by_transformers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Transformers(Format):
    """The family's own classification model, as `save_pretrained` writes it, with adapters merged into its weights."""

    library = "transformers"
    relation = "finetune"
    files = ("config.json", "model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json")

    def why_not(self, model: Exportable) -> str:
        """Whatever is neither the encoder's nor the family's head, unless it can be merged into their weights."""
        if reason := model.why_head_is_unknown:
            return reason
        if model.has_virtual_tokens:
            return f"{model.record.strategy} puts virtual tokens before the text"
        if model.is_quantized:
            return f"{model.record.strategy} trained on weights of few bits, with which an adapter is not merged without loss"
        added = model.added_layers
        return f"{model.record.strategy} puts layers of its own between the encoder's ({added[0]})" if added else ""

    def write(self, model: Exportable, folder: Path) -> None:
        """Merge, and save."""
        merged = model.merge()
        model.set_labels(merged)
        merged.save_pretrained(folder)  # type: ignore[operator]
        model.save_tokenizer(folder)

    def load_and_answer(self, model: Exportable, folder: Path, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """By transformers alone."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        loaded = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        return answer_by_transformers(loaded, AutoTokenizer.from_pretrained(folder), inputs)

    def example(self, model: Exportable, folder: str) -> str:
        """The pipeline of transformers."""
        given = '{"text": "a film", "text_pair": "a movie"}' if model.record.pairs else '"a gripping film"'
        return f"""from transformers import pipeline

classify = pipeline("text-classification", model="{folder}", top_k=None)
print(classify({given}, truncation=True))"""
