"""An adapter of peft is merged with the model below it, and what peft lost of it is not made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LoHaConfig,
    LoraConfig,
    OFTConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    VeraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from pipeline.data.columns import Problem
from pipeline.errors import ConfigError, ModelError
from pipeline.modeling.loading import check_weights, load_classifier
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.modeling.model_sources import ModelAddress, find_model
from pipeline.training.saved_model import load_foreign_model

TARGETS = ["query", "value"]
CLASSES = ("bad", "good", "ugly")
TEXTS = ["a fine film", "dull", "witty plot of the story"]
KINDS: dict[str, PeftConfig] = {
    "lora": LoraConfig(r=2, target_modules=TARGETS, task_type="SEQ_CLS"),
    "dora": LoraConfig(r=2, target_modules=TARGETS, task_type="SEQ_CLS", use_dora=True, bias="all"),
    "every_linear_layer": LoraConfig(r=2, target_modules="all-linear", task_type="SEQ_CLS"),
    "adalora": AdaLoraConfig(init_r=2, target_r=2, total_step=10, target_modules=TARGETS, task_type="SEQ_CLS"),
    "ia3": IA3Config(
        target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"], task_type="SEQ_CLS"
    ),
    "loha": LoHaConfig(r=2, target_modules=TARGETS, task_type="SEQ_CLS"),
    "oft": OFTConfig(r=4, oft_block_size=0, target_modules=TARGETS, task_type="SEQ_CLS"),
    "vera": VeraConfig(r=2, target_modules=TARGETS, task_type="SEQ_CLS"),
}
QUICK = ("lora", "dora", "ia3")

Write = Callable[..., PeftModel]


@pytest.fixture
def base(tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder(), tmp_path / "base"))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return tmp_path / "adapter"


@pytest.fixture
def write(base: Path, adapter: Path) -> Write:
    """Writes an adapter with every number drawn, as if it were trained, and gives the model that it was saved from."""

    def make(config: PeftConfig, model: PreTrainedModel | None = None) -> PeftModel:
        torch.manual_seed(1)
        if model is None:
            model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(CLASSES))
        wrapped = get_peft_model(model, deepcopy(config))  # which peft changes
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.data += 0.1 * torch.randn_like(parameter)
        wrapped.save_pretrained(adapter)
        return wrapped.eval()

    return make


@pytest.fixture
def find(adapter: Path, tmp_path: Path) -> Callable[..., ModelAddress]:
    def call(base_model: object = None, cache: str = "cache") -> ModelAddress:
        return find_pretrained(str(adapter), None, str(base_model) if base_model else None, str(tmp_path / cache))

    return call


def batch(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt"))


@pytest.mark.parametrize("kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def test_what_was_merged_answers_as_the_adapter_on_its_base(base: Path, write: Write, find, kind: str) -> None:
    wrapped = write(KINDS[kind])
    address = find()
    assert check_weights(address).lacking == frozenset()
    model = load_classifier(address, CLASSES, 0.0, seed=7).model.eval()
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3).eval()
    with torch.no_grad():
        expected, found = wrapped(**batch(base)).logits, model(**batch(base)).logits
        assert not torch.allclose(plain.bert(**batch(base))[0], wrapped.base_model.model.bert(**batch(base))[0], atol=1e-3)
    assert torch.allclose(found, expected, atol=1e-5)
    peft_type = wrapped.peft_config["default"].peft_type.value
    assert address.note == f"--model {address.name}: a peft adapter ({peft_type}), merged into {base}."


@pytest.mark.parametrize(("cls", "task"), [(AutoModel, None), (AutoModel, "FEATURE_EXTRACTION"), (AutoModelForMaskedLM, None)])
def test_an_adapter_of_an_encoder_or_a_language_model_has_no_classifier(base: Path, write: Write, find, cls, task) -> None:
    wrapped = write(LoraConfig(r=2, target_modules=TARGETS, task_type=task), cls.from_pretrained(base))
    address = find()
    encoder = getattr(wrapped.base_model.model, "bert", wrapped.base_model.model)
    model = load_classifier(address, CLASSES, 0.0, seed=7).model.bert.eval()
    with torch.no_grad():
        assert torch.allclose(model(**batch(base))[0], encoder(**batch(base))[0], atol=1e-5)
    assert check_weights(address).outputs is None


def test_what_peft_left_frozen_as_it_was_drawn_is_lacking(tiny, write: Write, find) -> None:
    """A pooler that the base lacks: peft saves the classifier alone, and the numbers that it was trained on are lost."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny.folder(pooler=False), num_labels=3)
    write(KINDS["lora"], model)
    assert check_weights(find()).lacking == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    with pytest.raises(ModelError, match=r"bert\.pooler\.dense\.\w+.* would be random"):
        load_foreign_model(find(), Problem(CLASSES), 64)
    drawn = [load_classifier(find(), CLASSES, 0.0, seed=seed).model.bert.pooler.dense.weight for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_base_may_be_said(base: Path, adapter: Path, write: Write, find, tmp_path: Path) -> None:
    write(KINDS["lora"])
    moved = base.rename(tmp_path / "moved")
    with pytest.raises(ModelError) as caught:
        find()
    message = str(caught.value)
    assert f"--model {adapter}: its base, {base}: no such folder. Give the model below it as --base-model." in message
    assert "Merge it in Python: base = AutoModelForSequenceClassification" in message
    assert find(moved).adapter.base == str(moved)


def test_an_adapter_that_names_no_base_asks_for_it(base: Path, adapter: Path, write: Write, find) -> None:
    write(KINDS["lora"])
    change(adapter / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(ModelError, match=r"does not name the model below it\. Give the model below it as --base-model"):
        find()
    assert find(base).adapter.base == str(base)


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_another_base_is_refused(tiny, base: Path, write: Write, find, tmp_path: Path) -> None:
    """Layers that the base has more, or less, peft would leave out without a word."""
    write(KINDS["lora"])
    weights = load_file(base / "model.safetensors")
    for depth, said in ((3, "has no place in it"), (5, "is missing from it")):
        other = Path(shutil.copytree(base, tmp_path / f"layers-{depth}"))
        kept = {name: tensor for name, tensor in weights.items() if depth > 3 or ".layer.3." not in name}
        more = {name.replace(".3.", ".4."): tensor.clone() for name, tensor in weights.items() if ".layer.3." in name}
        save_file(kept | (more if depth > 4 else {}), other / "model.safetensors", {"format": "pt"})
        change(other / "config.json", num_hidden_layers=depth)
        check_weights(find_model(str(other)))
        with pytest.raises(ModelError, match=rf"is no adapter of {other}: .*layer\.{3 if depth < 4 else 4}\..* {said}"):
            find(other)
    with pytest.raises(ModelError, match=r"cannot be merged into .* --base-model"):
        find(tiny.folder("distilbert"))


@pytest.mark.parametrize("damage", ["prompt", "gone", "task", "json", "chain", "itself"])
def test_what_cannot_be_merged_is_refused(adapter: Path, write: Write, find, tmp_path: Path, damage: str) -> None:
    write(PrefixTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS") if damage == "prompt" else KINDS["lora"])
    said = {
        "prompt": "cannot be merged. Train one here, with --strategy prefix",
        "gone": "adapter_config.json and no adapter_model.safetensors",
        "task": "is an adapter for CAUSAL_LM, and no encoder's",
        "json": "is not JSON",
        "chain": "is an adapter itself. Give",
        "itself": "is an adapter itself. Give",
    }[damage]
    config = adapter / "adapter_config.json"
    if damage == "gone":
        (adapter / "adapter_model.safetensors").unlink()
    elif damage == "task":
        change(config, task_type="CAUSAL_LM")
    elif damage == "json":
        config.write_text("{")
    elif damage in ("chain", "itself"):
        below = adapter if damage == "itself" else Path(shutil.copytree(adapter, tmp_path / "below"))
        change(config, base_model_name_or_path=str(below))
    with pytest.raises(ModelError) as caught:
        find()
    assert said in str(caught.value)
    assert str(caught.value).startswith("--model ")


def test_a_base_for_no_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--base-model x: --model .* is no adapter\. Leave --base-model out"):
        find_pretrained(str(base), None, "x", str(tmp_path))
    assert find_pretrained(str(base)).adapter is None


def test_the_hash_is_that_of_adapter_and_base_wherever_they_were_merged(base: Path, adapter: Path, write: Write, find) -> None:
    write(KINDS["lora"])
    first, second = find(), find(cache="elsewhere")
    assert first.folder != second.folder
    assert first.sha256() == second.sha256()
    assert first.sha256() != replace(first, adapter=None).sha256() != find_model(str(base)).sha256()
    hashes = {first.sha256()}
    for folder, name in ((base, "vocab.txt"), (adapter, "adapter_config.json")):
        (folder / name).write_text((folder / name).read_text() + "\n")
        hashes.add(find().sha256())
    assert len(hashes) == 3


def test_a_merged_folder_that_is_damaged_or_gone_is_made_again(write: Write, find) -> None:
    write(KINDS["lora"])
    folder = find().folder
    content = (folder / "model.safetensors").read_bytes()
    from pipeline.modeling import merged_adapters

    for damage in (lambda: (folder / "model.safetensors").write_bytes(content[:-4] + b"abcd"), lambda: shutil.rmtree(folder)):
        damage()
        merged_adapters._merge_once.cache_clear()  # as another process
        assert find().folder == folder
        assert (folder / "model.safetensors").read_bytes() == content


def test_the_adapter_s_own_tokenizer_and_names_are_taken(base: Path, adapter: Path, write: Write, find) -> None:
    write(KINDS["lora"])
    assert find().config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    shutil.copy(base / "config.json", adapter)
    change(adapter / "config.json", id2label=dict(enumerate(CLASSES)))
    shutil.copy(base / "vocab.txt", adapter)
    (adapter / "vocab.txt").write_text((adapter / "vocab.txt").read_text().replace("witty", "other"))
    address = find()
    assert list(address.config["id2label"].values()) == list(CLASSES)
    assert "other" in (address.folder / "vocab.txt").read_text()
    assert not (address.folder / "tokenizer.json").exists()
    (adapter / "bpe.codes").write_text("f i 7\n")
    assert (find().folder / "bpe.codes").read_text() == "f i 7\n"


def test_an_adapter_that_an_older_peft_pickled_is_merged_alike(base: Path, adapter: Path, write: Write, find) -> None:
    write(KINDS["lora"])
    shutil.copy(base / "config.json", adapter)
    change(adapter / "config.json", id2label=dict(enumerate(CLASSES)))
    weights = adapter / "adapter_model.safetensors"
    addresses = [find()]
    torch.save(load_file(weights), adapter / "adapter_model.bin")
    weights.unlink()
    addresses.append(find())
    assert [list(address.config["id2label"].values()) for address in addresses] == [list(CLASSES)] * 2
    models = [load_classifier(address, CLASSES, 0.0, seed=7).model.eval() for address in addresses]
    with torch.no_grad():
        assert torch.equal(*(model(**batch(base)).logits for model in models))
