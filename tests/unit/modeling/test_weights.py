"""Names in files of weights, held against those of the model both ways."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from plain_models import in_tiers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification

from pipeline.errors import ModelError
from pipeline.modeling.family import find_family, list_model_types
from pipeline.modeling.loading import check_weights, load_classifier
from pipeline.modeling.model_sources import find_model

FAMILIES = list_model_types()
CLASSES = ("bad", "good")
Weights = dict[str, torch.Tensor]


@pytest.fixture
def copy(tiny, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a tiny checkpoint, with a trained classifier where asked for."""

    def make(family: str = "bert", classifier: bool = False) -> Path:
        folder = Path(shutil.copytree(tiny.folder(family), tmp_path / f"my-{family}"))
        if classifier:
            torch.manual_seed(7)
            AutoModelForSequenceClassification.from_pretrained(folder, id2label=dict(enumerate(CLASSES))).save_pretrained(
                folder
            )
        return folder

    return make


def state(folder: Path, classes: tuple[str, ...] = CLASSES) -> Weights:
    return load_classifier(find_model(str(folder)), classes, 0.0, seed=0).model.state_dict()


def change(folder: Path, edit: Callable[[Weights], Weights], as_pickle: bool = False) -> None:
    weights = edit(load_file(folder / "model.safetensors"))
    if as_pickle:
        torch.save(weights, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    else:
        save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
        )


def describe(folder: Path, **entries: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | entries))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        check_weights(find_model(str(folder)))
    with pytest.raises(ModelError):
        state(folder)
    return str(caught.value)


def note(folder: Path) -> str:
    return check_weights(find_model(str(folder))).note


WRAPPERS = ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.model.", "model.model."]


@pytest.mark.parametrize("family", in_tiers(FAMILIES))
@pytest.mark.parametrize("classifier", [False, True], ids=["encoder", "classifier"])
def test_what_wrappers_put_before_the_names_is_read_as_if_it_were_not_there(copy, family: str, classifier: bool) -> None:
    folder = copy(family, classifier)
    expected, whole = state(folder), load_file(folder / "model.safetensors")
    for number, prefix in enumerate(WRAPPERS):
        (folder / "pytorch_model.bin").unlink(missing_ok=True)
        save_file(whole, folder / "model.safetensors", {"format": "pt"})
        change(folder, lambda weights, prefix=prefix: {prefix + name: w for name, w in weights.items()}, bool(number % 2))
        found = state(folder)
        assert all(torch.equal(found[name], expected[name]) for name in expected), prefix
        assert (check_weights(find_model(str(folder))).outputs == 2) == classifier


def test_a_compiled_part_is_read_as_if_it_were_not(copy) -> None:
    folder = copy("roberta", classifier=True)
    expected = state(folder)
    change(folder, lambda weights: {name.replace("roberta.", "roberta._orig_mod."): w for name, w in weights.items()})
    found = state(folder)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_shards_are_read_by_their_index(copy) -> None:
    folder = copy(classifier=True)
    expected = state(folder)
    AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    (folder / "model.safetensors").unlink()
    found = state(folder)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    describe(folder, num_hidden_layers=3)
    assert "hold 16 tensors of an encoder that have no place in the bert" in refusal(folder)


def test_safetensors_are_read_where_both_are_there(copy) -> None:
    folder = copy(classifier=True)
    expected = state(folder)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in load_file(folder / "model.safetensors").items()}
    torch.save(zeros, folder / "pytorch_model.bin")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state(folder).items())


@pytest.mark.parametrize("prefix", ["", "bert.", "module.", "module.bert."])
def test_more_layers_than_the_config_says_are_refused(copy, prefix: str) -> None:
    folder = copy()
    change(folder, lambda weights: {prefix + name: tensor for name, tensor in weights.items()})
    describe(folder, num_hidden_layers=2)
    message = refusal(folder)
    assert "its weights hold 32 tensors of an encoder that have no place in the bert that config.json describes" in message
    assert "encoder.layer.2.attention.output.LayerNorm.bias" in message
    assert "and 29 more. Put the config.json beside the weights" in message


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "albert"])
def test_more_layers_are_refused_in_every_family(copy, family: str) -> None:
    folder = copy(family)
    describe(folder, **{"n_layers" if family == "distilbert" else "num_hidden_layers": 3})
    if family == "modernbert":
        content = json.loads((folder / "config.json").read_text())
        describe(folder, layer_types=(content.get("layer_types") or [])[:3] or None)
    assert "tensors of an encoder that have no place" in refusal(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_that_is_missing_is_refused(copy, family: str) -> None:
    folder = copy(family)
    layer = re.compile(r"albert_layer_groups\.0\." if family == "albert" else r"layers?\.2\.")
    change(folder, lambda weights: {name: tensor for name, tensor in weights.items() if not layer.search(name)})
    assert f"parameters of the {family} that config.json describes, such as" in refusal(folder)


@pytest.mark.parametrize(("family", "norm", "lacking"), [("modernbert", "final_norm", 1), ("megatron-bert", "encoder.ln", 2)])
def test_a_norm_that_every_token_passes_must_be_there(copy, family: str, norm: str, lacking: int) -> None:
    folder = copy(family)
    change(folder, lambda weights: {name: tensor for name, tensor in weights.items() if norm not in name})
    assert f"its weights lack {lacking} parameters of the {family} that config.json describes, such as " in refusal(folder)
    assert norm in refusal(folder)


def test_a_table_that_all_layers_use_must_be_there(copy) -> None:
    folder = copy("mpnet")
    change(folder, lambda weights: {name: tensor for name, tensor in weights.items() if "relative_attention" not in name})
    assert "its weights lack 1 parameters of the mpnet that config.json describes, such as mpnet.encoder.rel" in refusal(folder)


@pytest.mark.parametrize("family", ["bert", "electra", "roberta"])
@pytest.mark.parametrize("prefixed", [False, True])
def test_relative_positions_are_refused(copy, family: str, prefixed: bool) -> None:
    folder = copy(family)
    prefix = f"{family}." if prefixed else ""

    def edit(weights: Weights) -> Weights:
        relative = {f"encoder.layer.{i}.attention.self.distance_embedding.weight": torch.rand(127, 16) for i in range(4)}
        return {prefix + name: tensor for name, tensor in {**weights, **relative}.items()}

    change(folder, edit)
    assert "its weights hold relative positions in 4 tensors" in refusal(folder)
    assert "Choose one with absolute positions" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["bert.encoder.relative_bias.weight", "encoder.relative_bias.weight", "embeddings.extra.weight"]
)
def test_any_other_part_of_an_encoder_without_a_place_is_refused(copy, name: str) -> None:
    folder = copy()
    change(folder, lambda weights: {**weights, name: torch.rand(3)})
    assert f"hold 1 tensors of an encoder that have no place in the bert that config.json describes: {name}" in refusal(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_of_language_models_are_ignored_and_said(copy, family: str) -> None:
    folder = copy(family)
    AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)
    said = {"albert": "predictions", "bert": "cls", "distilbert": "vocab_transform", "electra": "generator_predictions"}
    said |= {"modernbert": "decoder", "roberta": "lm_head", "xlm-roberta": "lm_head"}
    assert f"--model {folder}: not used of its weights: " in note(folder)
    assert said.get(family, "") in note(folder)
    assert check_weights(find_model(str(folder))).outputs is None


def test_nothing_is_said_where_every_tensor_is_used(copy) -> None:
    assert note(copy()) == ""
    assert note(copy("electra", classifier=True)) == ""


@pytest.mark.parametrize(("family", "prefix"), [("roberta", ""), ("roberta", "roberta."), ("xlm-roberta", "roberta.")])
def test_a_pooler_that_is_not_used_and_buffers_are_ignored_and_said_once(copy, family: str, prefix: str) -> None:
    folder = copy(family)
    change(folder, lambda weights: {prefix + name: tensor for name, tensor in weights.items() if "pooler" not in name})
    plain = state(folder)

    def edit(weights: Weights) -> Weights:
        more = {"embeddings.position_ids": torch.arange(64)[None], "pooler.dense.weight": torch.rand(32, 32)}
        return weights | {prefix + name: tensor for name, tensor in more.items()}

    change(folder, edit)
    begin, _, groups = note(folder).removesuffix(".").rpartition(": ")
    assert begin == f"--model {folder}: not used of its weights"
    assert set(groups.split(", ")) == {"position_ids", f"{prefix}pooler"}
    assert all(torch.equal(tensor, plain[name]) for name, tensor in state(folder).items())


def test_a_tensor_that_stands_twice_is_refused(copy) -> None:
    folder = copy()
    change(folder, lambda weights: {**weights, "module.embeddings.LayerNorm.bias": torch.rand(32)})
    assert "hold embeddings.LayerNorm.bias twice, as embeddings.LayerNorm.bias and as module." in refusal(folder)


@pytest.mark.parametrize("other", ["bert.embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta"])
def test_two_names_of_one_parameter_are_refused(copy, other: str) -> None:
    folder = copy()
    change(folder, lambda weights: {**weights, other: torch.rand(32)})
    assert f"hold {' and '.join(sorted([other, 'embeddings.LayerNorm.bias']))} twice, under two names" in refusal(folder)


@pytest.mark.parametrize(("inner", "shown"), [("", "backbone."), ("bert.", "backbone.")])
def test_another_prefix_is_named(copy, inner: str, shown: str) -> None:
    folder = copy()
    change(folder, lambda weights: {f"backbone.{inner}{name}": tensor for name, tensor in weights.items()})
    assert f"the names in its weights begin with {shown!r}" in refusal(folder)


@pytest.mark.parametrize("entry", ["model_state_dict", "state_dict"])
def test_a_checkpoint_of_a_training_says_where_its_weights_are(copy, entry: str) -> None:
    folder = copy()
    change(folder, lambda weights: {entry: weights, "optimizer": {"lr": 0.1}, "epoch": 3}, as_pickle=True)  # type: ignore[dict-item]
    message = refusal(folder)
    assert f"holds the entries {entry}, optimizer, epoch where tensors by name are expected" in message
    assert f'Save torch.load(...)["{entry}"] as pytorch_model.bin' in message


def test_weights_with_an_adapter_that_was_not_merged_are_refused(copy) -> None:
    from peft import LoraConfig, get_peft_model

    folder = copy(classifier=True)
    wrapped = get_peft_model(AutoModelForSequenceClassification.from_pretrained(folder), LoraConfig(target_modules=["query"]))
    save_file({name: tensor.contiguous() for name, tensor in wrapped.state_dict().items()}, folder / "model.safetensors")
    assert "are those of a model with an adapter that was not merged" in refusal(folder)


@pytest.mark.parametrize("family", in_tiers(FAMILIES))
def test_the_rows_of_a_classifier_are_put_in_the_order_of_the_data(copy, family: str) -> None:
    folder = copy(family, classifier=True)
    address = find_model(str(folder))
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])}
    straight, turned = (
        load_classifier(address, classes, 0.0, seed=0).model.eval() for classes in (CLASSES, tuple(reversed(CLASSES)))
    )
    named = load_classifier(address, ("x", "y"), 0.0, seed=0, model_labels=("y", "x")).model.eval()
    with torch.no_grad():
        logits = straight(**inputs).logits
        assert torch.allclose(turned(**inputs).logits, logits.flip(1), atol=1e-6)
        assert torch.allclose(named(**inputs).logits, logits.flip(1), atol=1e-6)
        own = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        assert torch.allclose(own(**inputs).logits, logits, atol=1e-6)


@pytest.mark.parametrize("family", in_tiers(FAMILIES))
def test_of_other_classes_the_last_layer_is_drawn_as_where_there_is_none(copy, family: str) -> None:
    folder = copy(family, classifier=True)
    loaded = load_classifier(find_model(str(folder)), ("x", "y"), 0.0, seed=5)
    logits = find_family(family).logits
    assert loaded.newly_initialised == {f"{logits}.weight", f"{logits}.bias"}
    again = load_classifier(find_model(str(folder)), ("u", "v"), 0.0, seed=5).model
    assert torch.equal(loaded.model.get_submodule(logits).weight, again.get_submodule(logits).weight)
    assert not torch.equal(loaded.model.get_submodule(logits).weight, state(folder)[f"{logits}.weight"])


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_a_head_for_tokens_is_not_kept_for_texts(copy, family: str) -> None:
    folder = copy(family)
    AutoModelForTokenClassification.from_pretrained(folder, num_labels=2).save_pretrained(folder)
    assert check_weights(find_model(str(folder))).outputs is None
    logits = find_family(family).logits
    loaded = load_classifier(find_model(str(folder)), CLASSES, 0.0, seed=5)
    assert {f"{logits}.weight", f"{logits}.bias"} <= loaded.newly_initialised
