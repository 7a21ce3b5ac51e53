"""Encoders of a given shape with random weights: what a step costs does not depend on what the weights are."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

SHAPES = {
    "bert-base-shape": {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
}
"""Names that stand for --model; each replaces sizes in MiniLM's config.json, whose vocabulary is BERT's."""


@contextlib.contextmanager
def model_of(name: str) -> Iterator[str]:
    """The model as it was named, or a folder with an encoder of the named shape for as long as the block lasts."""
    if name not in SHAPES:
        yield name
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield str(make_encoder(Path(scratch) / name, **SHAPES[name]))


def make_encoder(folder: Path, **sizes: int) -> Path:
    """MiniLM with other sizes and random weights, and its tokenizer."""
    from transformers import AutoConfig, AutoModel

    from pipeline.modeling.model_sources import find_model

    packaged = find_model("minilm").folder
    folder.mkdir()
    for file in packaged.iterdir():
        if (file.is_file() and "token" in file.name) or file.name == "vocab.txt":
            shutil.copy(file, folder)
    config = AutoConfig.for_model(**{**json.loads((packaged / "config.json").read_text()), **sizes})
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
