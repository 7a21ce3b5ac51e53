"""Models: folders from elsewhere, and those that training wrote."""

from __future__ import annotations

import functools
import io
import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tiny_encoders import FAMILIES

from pipeline.hashing import seal
from pipeline.modeling.foreign_folders import ADAPTER, DELTA, RECORD
from pipeline.modeling.loading import check_weights
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.modeling.model_sources import check_files, find_model
from pipeline.modeling.pooling_config import MODULES, read_pooling
from pipeline.training.baselines.model import TERMS
from pipeline.training.saved_model import load_model_folder

from ..reader import Reader, Room, make_folder
from .data import SEPARATOR, join_files, lay_files


@functools.cache
def _tiny() -> Path:
    folder = make_folder() / "bert"
    FAMILIES["bert"](folder, True)
    return folder


def _read_files(content: bytes, room: Room) -> None:
    """The small files of a folder, as `--model` finds it; its weights are sound, if it says nothing of them."""
    folder = room.given / "model"
    folder.mkdir()
    lay_files(content, folder)
    if not any(folder.glob("adapter*")):
        for name in ("model.safetensors", "vocab.txt"):
            if not (folder / name).exists():
                (folder / name).symlink_to(_tiny() / name)
    address = find_pretrained(str(folder), cache_dir=str(room.kept))
    check_files(address)
    assert address.encoder.depth >= 0
    read_pooling(folder)
    address.sha256()


def _file_seeds() -> list[bytes]:
    config = (_tiny() / "config.json").read_text(encoding="utf-8")
    old_pooling = '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    modules = (
        '[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}, {"path": "2", "type": "a.Dense"}]'
    )
    adapter = '{"peft_type": "LORA", "base_model_name_or_path": "/nowhere/base", "task_type": "SEQ_CLS", "r": 4}'
    index = '{"weight_map": {"a": "model-1.safetensors"}}'
    return [
        join_files({"config.json": config}),
        join_files({"config.json": config, MODULES: modules, "1_Pooling/config.json": '{"pooling_mode": ["mean"]}'}),
        join_files({"config.json": config, MODULES: modules, "1_Pooling/config.json": old_pooling}),
        join_files({ADAPTER: adapter, "adapter_model.safetensors": save({"classifier.weight": np.zeros((2, 2))})}),
        join_files({"config.json": config, "model.safetensors": b"", "model.safetensors.index.json": index}),
        join_files({"checkpoint-2/config.json": config, "trainer_state.json": '{"best_model_checkpoint": "checkpoint-2"}'}),
        join_files({RECORD: '{"base": "minilm", "strategy": "lora"}', DELTA: b"x"}),
        join_files({"config.json": '{"model_type": "distilbert", "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 8}'}),
        join_files({"config.json": '{"model_type": "nothing", "hidden_size": 8}'}),
    ]


def _file_words() -> list[str]:
    config = json.loads((_tiny() / "config.json").read_text(encoding="utf-8"))
    names = ["id2label", "label2id", "num_labels", "auto_map", "quantization_config", "dtype", "weight_map"]
    return [*(f'"{name}": ' for name in (*config, *names)), SEPARATOR.decode(), "null", "1e999", "-1", "[]", "{}", *FAMILIES]


def _read_weights(content: bytes, room: Room) -> None:
    """A file of weights, in a folder that is sound otherwise: its header is where the harm is."""
    folder = room.given / "model"
    folder.mkdir()
    for file in _tiny().iterdir():
        if not file.name.startswith("model"):
            (folder / file.name).symlink_to(file)
    name, _, body = content.partition(b"\n")
    kind = "pytorch_model.bin" if name == b"pickle" else "model.safetensors"
    (folder / kind).write_bytes(body)
    address = find_model(str(folder))
    check_files(address)
    check_weights(address)


def _weight_seeds() -> list[bytes]:
    import torch

    zeros = {"embeddings.word_embeddings.weight": np.zeros((200, 2), np.float32), "pooler.dense.bias": np.zeros(32, np.float32)}
    file = io.BytesIO()
    torch.save({name: torch.zeros(2) for name in zeros}, file)
    return [b"safetensors\n" + save(zeros), b"safetensors\n" + save({}), b"pickle\n" + file.getvalue()]


def _read_saved(content: bytes, room: Room) -> None:
    """A folder of a baseline that training wrote, with files in place of its own; sealed anew, as if by another version."""
    folder = Path(shutil.copytree(_baseline(), room.given / "model"))
    name, _, body = content.partition(b"\n")
    names = {file.name.encode(): file for file in folder.iterdir()}
    keys = sorted(names)
    names.get(name.removeprefix(b"sealed "), names[keys[len(name) % len(keys)]]).write_bytes(body)
    if name.startswith(b"sealed "):
        seal(folder)
    model = load_model_folder(folder, cache_dir=str(room.kept))
    model.predict_and_count(["a fine film", ""])


@functools.cache
def _baseline() -> Path:
    """The folder of a trained `tfidf`."""
    from pipeline.data.columns import Problem
    from pipeline.objectives.base import create_objective
    from pipeline.strategies.base import create_strategy
    from pipeline.strategies.baseline import Baseline
    from pipeline.training.baselines.model import BaselineModel
    from pipeline.training.saved_model import ModelRecord, write_model_folder

    strategy = create_strategy("tfidf", {})
    assert isinstance(strategy, Baseline)
    texts = [f"a {'fine' if row % 2 else 'dull'} film {row}" for row in range(12)]
    learned = strategy.learn(texts, np.arange(12) % 2, 2)
    objective = create_objective("classification", Problem.of(["neg", "pos"], None, False), "mean")
    folder = make_folder() / "baseline"
    record = ModelRecord("", None, "", "tfidf", {}, ["neg", "pos"], 128, 0.1, 1, 1)
    write_model_folder(folder, BaselineModel(strategy, learned, objective, objective.task), record)
    return folder


def _saved_seeds() -> list[bytes]:
    files = sorted(_baseline().iterdir())
    return [begin + file.name.encode() + b"\n" + file.read_bytes() for file in files for begin in (b"", b"sealed ")]


def _saved_words() -> list[str]:
    record = json.loads((_baseline() / RECORD).read_text(encoding="utf-8"))
    return [
        *(f'"{name}": ' for name in record),
        f"sealed {RECORD}\n",
        f"sealed {TERMS}\n",
        "null",
        "[]",
        "{}",
        "majority",
        "[0, 1]",
    ]


READERS = (
    Reader("folder of a model", _read_files, _file_seeds, _file_words, seconds=20),
    Reader("weights", _read_weights, _weight_seeds, lambda: ['"dtype":"F32"', '"shape":[', '"data_offsets":[', "__metadata__"]),
    Reader("saved model", _read_saved, _saved_seeds, _saved_words),
)
