"""A graph for onnxruntime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.batching import TokenExamples, load_batch
from pipeline.data.columns import Input
from pipeline.data.long_texts import FROM_THE_BEGINNING
from pipeline.modeling.foreign_folders import RECORD
from pipeline.objectives.base import Tokenization
from pipeline.stages.exporting.format import Exportable, Format
from pipeline.stages.exporting.onnx_model import GRAPH, WEIGHTS, load_onnx_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

_OUTPUT = "logits"


class Onnx(Format):
    """The whole computation from token ids to logits: encoder, strategy, pooling and head, whatever they are."""

    packages = ("onnx", "onnxruntime")
    library = "onnx"
    relation = "finetune"
    files = (GRAPH, WEIGHTS, "config.json", RECORD)

    def why_not(self, model: Exportable) -> str:
        """Weights of few bits, which are multiplied by code that is no part of a graph."""
        return f"{model.record.strategy} computes with weights of few bits" if model.is_quantized else ""

    def write(self, model: Exportable, folder: Path) -> None:
        """Trace the model, with adapters merged where they can be."""
        merged = model.merge()
        with tempfile.TemporaryDirectory(dir=folder) as traced:  # of a large model into hundreds of files
            whole = Path(traced) / GRAPH
            _write_graph(merged, _example_batch(model), whole, paired=model.record.objective == "bi_encoder")
            self.place(whole, folder / GRAPH)
        model.set_labels(merged)
        config: Any = merged.config
        config.save_pretrained(folder)
        self._save_cutting_tokenizer(model, folder)
        named: dict[str, Any] = {"base": model.base_name, "base_revision": model.base_revision}
        record = replace(model.record, **named, adapter_base=None, adapter_base_revision=None)
        (folder / RECORD).write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False), encoding="utf-8")

    def place(self, whole: Path, target: Path) -> None:
        """Put the traced graph where it is to be, with at most one file beside it."""
        if len([*whole.parent.iterdir()]) == 1:
            whole.replace(target)
            return
        import onnx

        onnx.save_model(onnx.load(whole), target, save_as_external_data=True, location=WEIGHTS)

    def load_and_answer(self, model: Exportable, folder: Path, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """By onnxruntime, with the tokenizer beside the graph."""
        return replace(load_onnx_folder(folder), reading=FROM_THE_BEGINNING).predict(inputs)

    def example(self, model: Exportable, folder: str) -> str:
        """With onnxruntime and tokenizers alone."""
        texts = '["a gripping film", "two hours of nothing"]'
        if model.record.objective == "bi_encoder":
            texts = '["a film", "rain"] + ["a movie", "sunshine"]  # all first texts, then all second ones'
        elif model.record.pairs:
            texts = '[("a film", "a movie"), ("rain", "sunshine")]'
        return f"""import json
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

folder = Path("{folder}")
if not folder.is_dir():  # then it is a repository of the hub
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download("{folder}"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # cuts and pads texts as in training
session = InferenceSession(folder / "{GRAPH}", providers=["CPUExecutionProvider"])
texts = {texts}
rows = tokenizer.encode_batch(texts)
tokens = {{
    "input_ids": [row.ids for row in rows],
    "attention_mask": [row.attention_mask for row in rows],
    "token_type_ids": [row.type_ids for row in rows],
}}
wanted = {{node.name: np.array(tokens[node.name], np.int64) for node in session.get_inputs()}}
(logits,) = session.run(["{_OUTPUT}"], wanted)
print(json.loads((folder / "labels.json").read_text(encoding="utf-8"))["labels"], logits)"""

    @staticmethod
    def _save_cutting_tokenizer(model: Exportable, folder: Path) -> None:
        """With how texts are cut and padded in `tokenizer.json`, so that the library tokenizers needs no more."""
        model.save_tokenizer(folder)
        if not (file := folder / "tokenizer.json").is_file():
            return
        from tokenizers import Tokenizer

        theirs, ours = Tokenizer.from_file(str(file)), model.trained.tokenizer
        theirs.enable_truncation(model.trained.max_length, direction=ours.truncation_side)
        theirs.enable_padding(direction=ours.padding_side, pad_id=ours.pad_token_id, pad_token=ours.pad_token)
        theirs.save(str(file))


def _example_batch(model: Exportable) -> dict[str, Any]:
    """What the model takes, by name, of two inputs of unequal length."""
    import torch

    trained = model.trained
    texts = ("a gripping film about rain", "nothing")
    inputs: list[Input] = [(text, text) for text in texts] if model.record.pairs else list(texts)
    how = Tokenization(trained.tokenizer, trained.max_length)
    table = trained.objective.encode(inputs, how, trained.encoder)
    examples = table.as_examples(lambda rows: TokenExamples(rows, trained.tokenizer.pad_token_id))
    import numpy as np

    batch = load_batch(examples, np.arange(len(inputs)), torch.device("cpu"))
    return {name: tensor.long() for name, tensor in batch.inputs.items()}


def _write_graph(model: nn.Module, batch: dict[str, Any], file: Path, paired: bool) -> None:
    """Trace `model` on a batch.

    The exporter that traces is taken (docs/adr/0031). It puts the model into the mode that the module it is
    given is in, so that is one of prediction.

    Args:
        paired: Whether an output is of two rows.
    """
    import torch
    from torch import nn

    names = list(batch)

    class Logits(nn.Module):
        """The model, from tensors in their order to logits."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**dict(zip(names, tensors, strict=True))).logits
            return logits.float()

    rows = {name: {0: "texts" if paired else "batch", 1: "length"} for name in names}
    with torch.inference_mode(False), torch.no_grad():
        torch.onnx.export(
            Logits().eval(),
            tuple(batch.values()),
            str(file),
            input_names=names,
            output_names=[_OUTPUT],
            dynamic_axes={**rows, _OUTPUT: {0: "pairs" if paired else "batch"}},
            dynamo=False,
        )
