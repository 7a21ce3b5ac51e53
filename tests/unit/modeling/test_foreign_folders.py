"""Folders that are no encoder say what they are and what to type."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification

from pipeline.errors import ModelError
from pipeline.modeling.loading import check_weights, load_classifier
from pipeline.modeling.model_sources import check_files, find_model

LORA = {"r": 2, "lora_alpha": 8, "target_modules": ["query", "value"], "init_lora_weights": False}


@pytest.fixture
def base(tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder(), tmp_path / "base"))


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes an adapter of the base that was as good as trained, with or without a classifier."""

    def make(classes: int | None = 3, config: object = None) -> Path:
        torch.manual_seed(1)
        cls, task = (AutoModelForSequenceClassification, "SEQ_CLS") if classes else (AutoModel, None)
        model = cls.from_pretrained(base, **({"num_labels": classes} if classes else {}))
        get_peft_model(model, config or LoraConfig(**LORA, task_type=task)).save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    return make


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        check_weights(find_model(str(folder)))
    return str(caught.value)


def code(message: str) -> str:
    """The Python code that a message gives."""
    [found] = re.findall(r"Merge it in Python: (.*?\))\. Save the tokenizer", message)
    return found


def merge(message: str, place: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """Do what a message says."""
    lines = code(message).replace("THAT_FOLDER", str(place)).replace('"merged"', f'"{tmp_path / "merged"}"')
    exec("from transformers import AutoModel, AutoModelForSequenceClassification\nfrom peft import PeftModel\n" + lines, {})
    return {n: t for n, t in AutoModel.from_pretrained(tmp_path / "merged").state_dict().items() if "pooler" not in n}


def merged_once(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """By hand: W + (alpha / r) B A."""
    weights, parts = AutoModel.from_pretrained(base).state_dict(), load_file(adapter / "adapter_model.safetensors")
    for name in [name for name in parts if name.endswith("lora_A.weight")]:
        own = name.removeprefix("base_model.model.").removeprefix("bert.").replace(".lora_A", "")
        weights[own] = weights[own] + LORA["lora_alpha"] / LORA["r"] * parts[name.replace("lora_A", "lora_B")] @ parts[name]
    return {name: tensor for name, tensor in weights.items() if "pooler" not in name}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in found)


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("with_config", [False, True])
def test_an_adapter_says_what_it_is_and_how_to_merge_it(
    adapter, base: Path, tmp_path: Path, classes: int | None, with_config: bool
) -> None:
    folder = adapter(classes)
    if with_config:
        shutil.copy(base / "config.json", folder)
    message = refusal(folder)
    assert f"It is a peft adapter (LORA) of {base}, without the model below it." in message
    assert_close(merge(message, folder, tmp_path), merged_once(base, folder))


@pytest.mark.parametrize(
    "content",
    [None, b"", b"PK noise", pickle.dumps({"classifier.weight": 3}, 2), pickle.dumps([{}], 2)],
    ids=["whole", "empty", "noise", "no tensor", "no names"],
)
def test_a_pickled_adapter_says_how_many_classes_it_has_where_it_can_be_read(adapter, content: bytes | None) -> None:
    folder = adapter(3)
    file = folder / "adapter_model.bin"
    torch.save(load_file(folder / "adapter_model.safetensors"), file)
    (folder / "adapter_model.safetensors").unlink()
    if content is not None:
        file.write_bytes(content)
    assert (", num_labels=3)" in code(refusal(folder))) == (content is None)


def test_an_adapter_that_cannot_be_merged_says_so(adapter) -> None:
    message = refusal(adapter(2, PrefixTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS")))
    assert "a peft adapter (PREFIX_TUNING)" in message
    assert "cannot be merged. Train one here, with --strategy prefix" in message


@pytest.mark.parametrize("classes", [None, 3])
def test_weights_beside_an_adapter_are_refused_whether_merged_or_not(adapter, base: Path, tmp_path: Path, classes) -> None:
    own = adapter(classes)
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    for file in own.glob("adapter_*"):
        shutil.copy(file, whole)
    message = refusal(whole)
    assert "holds the weights of a whole model and, beside them, a peft adapter (LORA)" in message
    assert ("Neither of them holds a trained classifier." in message) == (classes is None)
    with pytest.raises(ModelError, match="a peft adapter"):
        load_classifier(find_model(str(whole)), ["a", "b"], 0.0, seed=0)
    for file in whole.glob("adapter_*"):  # as the message says
        file.unlink()
    check_weights(find_model(str(whole)))
    assert_close(merge(message, own, tmp_path), merged_once(base, own))


def test_the_output_folder_of_a_trainer_offers_its_newest_checkpoint(base: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    for step in (90, 500, 1000, 1500):
        shutil.copytree(base, output / f"checkpoint-{step}")
    (output / "checkpoint-1500" / "model.safetensors").unlink()  # saving it was interrupted
    state = {"best_model_checkpoint": "output/checkpoint-500"}
    (output / "checkpoint-1000" / "trainer_state.json").write_text(json.dumps(state))
    message = refusal(output)
    assert "It is the output folder of a Trainer; the models are in its checkpoints (checkpoint-90, checkpoint-500," in message
    assert f"Give the newest, --model {output}/checkpoint-1000. The Trainer's best one is {output}/checkpoint-500." in message
    check_weights(find_model(str(output / "checkpoint-1000")))


def test_a_trainers_checkpoints_without_weights_or_with_adapters_are_said(adapter, tmp_path: Path) -> None:
    output = tmp_path / "output"
    (output / "checkpoint-500").mkdir(parents=True)
    assert "none of its checkpoints (checkpoint-500) holds weights" in refusal(output)
    shutil.move(adapter(), output / "checkpoint-20")
    assert f"--model {output}/checkpoint-20. It holds an adapter." in refusal(output)


def test_a_model_further_down_is_found(base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--bert"
    shutil.copytree(base, cache / "snapshots" / "abc")
    assert f"It holds a model below snapshots/abc. Give --model {cache}/snapshots/abc." in refusal(cache)


def test_a_file_is_no_folder(base: Path) -> None:
    with pytest.raises(ModelError, match=r"is a file\. Give the folder that holds it"):
        find_model(str(base / "model.safetensors"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "It is empty."),
        (["tf_model.h5"], "tf_model.h5 is TensorFlow, which is not read."),
        (["model.Q4.gguf"], "model.Q4.gguf is GGUF"),
        (["zero_to_fp32.py"], "It is a checkpoint of DeepSpeed. Run `python zero_to_fp32.py . .`"),
        (["pytorch_model_fsdp_0"], "It is a sharded checkpoint of FSDP"),
        (["train.csv", "test.csv"], "It holds data (test.csv, train.csv): was it meant for --dataset?"),
        (["notes.md"], "A model folder has config.json, weights and a tokenizer"),
    ],
    ids=str,
)
def test_what_else_is_there_is_said(tmp_path: Path, files: list[str], said: str) -> None:
    (tmp_path / "it").mkdir()
    for name in files:
        (tmp_path / "it" / name).write_text("")
    message = refusal(tmp_path / "it")
    assert "holds no config.json" in message
    assert said in message


@pytest.mark.parametrize("files", [["model.onnx"], ["onnx/model.onnx", "onnx/model_quantized.onnx"]], ids=str)
def test_an_exported_model_is_refused_by_name(base: Path, files: list[str]) -> None:
    """As optimum and transformers.js have it: config.json and a tokenizer, and no weights beside them."""
    (base / "model.safetensors").unlink()
    for name in files:
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(b"x")
    message = refusal(base)
    assert (
        f"It holds ONNX alone ({', '.join(files)}), which cannot be trained. Give the model that it was exported from."
        in message
    )
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "_name_or_path": "google-bert/bert-base-uncased"}))
    assert "it was exported from, google-bert/bert-base-uncased by its config.json." in refusal(base)


def test_weights_beside_an_exported_model_are_read(base: Path) -> None:
    (base / "model.onnx").write_bytes(b"x")
    assert check_weights(find_model(str(base))).lacking


def test_a_tokenizer_that_the_trainer_saved_once_is_found_above(base: Path, tmp_path: Path) -> None:
    """`checkpoint-500` without one: `Trainer` saves what it was given as `processing_class` alone."""
    checkpoint = base / "checkpoint-500"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(base / name, checkpoint)
    message = refusal(checkpoint)
    [command] = re.findall(r"The folder above has one: run `(.*)`\.", message)
    subprocess.run(command, shell=True, check=True)
    check_files(find_model(str(checkpoint)))
    shutil.move(checkpoint, tmp_path / "alone")
    (tmp_path / "alone" / "tokenizer.json").unlink()
    (tmp_path / "alone" / "vocab.txt").unlink()
    assert "The folder above" not in refusal(tmp_path / "alone")


def test_weights_of_another_kind_beside_a_config_are_named(base: Path) -> None:
    (base / "model.safetensors").rename(base / "flax_model.msgpack")
    with pytest.raises(ModelError, match=r"no weights in .*flax_model.msgpack is Flax, which is not read"):
        check_files(find_model(str(base)))
