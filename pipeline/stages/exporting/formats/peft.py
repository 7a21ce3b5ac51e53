"""An adapter for peft."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.columns import Input
from pipeline.modeling.foreign_folders import ADAPTER
from pipeline.stages.exporting.format import Exportable, Format, answer_by_transformers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Peft(Format):
    """The adapter and the classifier, without the model below, as peft's `save_pretrained` writes them."""

    library = "peft"
    relation = "adapter"
    files = (ADAPTER, "adapter_model.safetensors")

    def why_not(self, model: Exportable) -> str:
        """Whatever no adapter of peft holds."""
        from peft import PeftModel

        if reason := model.why_head_is_unknown:
            return reason
        if not isinstance(model.trained.model, PeftModel):
            return f"{model.record.strategy} makes no adapter of peft"
        if model.record.adapter_base:
            return "its base is an adapter itself, merged"
        if set(model.delta) - {name for name, _ in model.trained.model.named_parameters()}:
            return f"{model.record.strategy} changes the frozen weights, too, which no adapter holds"
        # What peft wraps or adds has the adapter's name, `default`, in its own.
        plain = sorted(name for name in model.delta if "default" not in name.split("."))
        if not plain:
            return ""
        name = plain[0].removeprefix("base_model.model.").replace(".base_layer", "")
        return f"{name} trained, which stands outside the adapter"

    def write(self, model: Exportable, folder: Path) -> None:
        """Save, with the base by its id on the hub where it has one."""
        wrapped: Any = model.trained.model.cpu()
        for config in wrapped.peft_config.values():
            config.base_model_name_or_path, config.revision = model.base, model.base_revision
        wrapped.save_pretrained(folder, save_embedding_layers=False)  # else peft may ask the hub how large the base's are
        model.save_tokenizer(folder)

    def load_and_answer(self, model: Exportable, folder: Path, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """By peft alone, on the base as it is on this disk."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        base = AutoModelForSequenceClassification.from_pretrained(
            model.address.folder,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            **_labels(model),
            **_loading(model),
        )
        return answer_by_transformers(PeftModel.from_pretrained(base, folder), AutoTokenizer.from_pretrained(folder), inputs)

    def example(self, model: Exportable, folder: str) -> str:
        """The base with the adapter's outputs, whatever it has itself, and the adapter on it."""
        second = ', ["a movie"]' if model.record.pairs else ""
        revision = f', revision="{model.base_revision}"' if model.base_revision else ""
        labels, outputs, shown = "", f"num_labels={model.outputs}", ""
        if names := list(model.record.classes):
            labels = f"labels = {names!r}  # in the order of the outputs\n"
            outputs = "id2label=dict(enumerate(labels)), label2id={label: index for index, label in enumerate(labels)}"
            shown = "labels, "
        return f"""import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

{labels}base = AutoModelForSequenceClassification.from_pretrained(
    "{model.base}"{revision},
    {outputs},
    ignore_mismatched_sizes=True,
    dtype=torch.float32,
)
model = PeftModel.from_pretrained(base, "{folder}").eval()
tokenizer = AutoTokenizer.from_pretrained("{folder}")
tokens = tokenizer(["a gripping film"]{second}, truncation=True, padding=True, return_tensors="pt")
with torch.no_grad():
    print({shown}model(**tokens).logits)"""


def _labels(model: Exportable) -> dict[str, Any]:
    """The outputs by name: a base that is a classifier itself may name others, or have them in another order."""
    if not (names := model.record.classes):
        return {"num_labels": model.outputs}
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def _loading(model: Exportable) -> dict[str, Any]:
    """How a base of few bits is loaded."""
    config: Any = getattr(model.trained.model.config, "quantization_config", None)
    return {} if config is None else {"quantization_config": config}
