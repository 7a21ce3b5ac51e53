"""A family that no file describes is read off the model; what is read off a known one is what its file declares."""

import shutil
from dataclasses import fields

import pytest
import torch
from pairs import EVERYWHERE, HAS_BITSANDBYTES, SOLVING, fewest_epochs, make, moved, record_of, snapshot
from tiny_encoders import VOCABULARY, deberta_v2_config
from transformers import DebertaV2Model, LayoutLMConfig, LayoutLMModel

from pipeline.errors import ConfigError, ModelError
from pipeline.modeling.encoder import describe_encoder
from pipeline.modeling.family import find_family, list_model_types
from pipeline.modeling.inferred import family as inferring
from pipeline.modeling.inferred.family import infer_family
from pipeline.modeling.inferred.probe import NotInferredError
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import list_encoder_strategies
from pipeline.training.saved_model import load_model_folder, write_model_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
QUICK = (*EVERYWHERE, "freeze_bottom", "ia3", "partial")
KNOWN = ["bert", "roberta", "distilbert", "mpnet", "deberta-v2", "modernbert", "megatron-bert"]
BY_NAMES = ("query_value", "key_value", "attention", "attention_output", "feed_forward_output")
TEXTS = {"input_ids": torch.arange(8, 28).reshape(2, 10), "attention_mask": torch.ones(2, 10, dtype=torch.long)}


def in_tiers(values, quick) -> list:
    """Parameters of a test, marked as slow where `make test` leaves them out."""
    return [pytest.param(value, marks=() if value in quick else pytest.mark.slow) for value in values]


@pytest.fixture
def hide(monkeypatch):
    """Makes a family one that no file describes, for as long as the test lasts."""

    def hidden(model_type: str) -> None:
        inferring._infer.cache_clear()
        known = [name for name in list_model_types() if name != model_type]
        monkeypatch.setattr(inferring, "list_model_types", lambda: known)
        monkeypatch.setattr("pipeline.modeling.encoder.find_family", lambda name: find_family(name) if name in known else None)

    yield hidden
    inferring._infer.cache_clear()


@pytest.fixture(scope="module")
def folder_of(tiny):
    """A tiny checkpoint; of DeBERTa as version 3 is, without a convolution."""

    def find(model_type: str):
        folder = tiny.folder(model_type)
        if model_type != "deberta-v2":
            return folder
        third = tiny.root / "deberta-v3"
        shutil.copytree(folder, third, ignore=lambda *_: {"model.safetensors", "config.json"})
        torch.manual_seed(0)
        DebertaV2Model(deberta_v2_config(conv_kernel_size=0)).save_pretrained(third)
        return third

    return find


@pytest.fixture(scope="module")
def layoutlm(tiny):
    """A tiny LayoutLM, of which no file of the package says anything; its checkpoint lacks the pooler."""
    folder = tiny.root / "unknown-layoutlm"
    shutil.copytree(tiny.folder(), folder, ignore=lambda *_: {"model.safetensors", "config.json"})
    torch.manual_seed(0)
    model = LayoutLMModel(LayoutLMConfig(**SIZES, max_2d_position_embeddings=8, initializer_range=0.2))
    without = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("pooler.")}
    model.save_pretrained(folder, state_dict=without)
    return folder


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**TEXTS).logits


@pytest.mark.parametrize("model_type", in_tiers(KNOWN, KNOWN[:5]))
def test_what_is_read_off_a_known_model_is_what_its_file_declares(tiny, folder_of, hide, tmp_path, model_type):
    folder = folder_of(model_type)
    config = tiny.config(acceleration=("off",))  # no run says that a top layer can be trimmed as BERT's

    def train() -> torch.Tensor:
        built = tiny.build(make("partial"), folder, config)
        tiny.fit(built, config, tmp_path)
        return logits_of(built.model)

    declared, expected = find_model(str(folder)).encoder, train()
    hide(model_type)
    inferred = find_model(str(folder)).encoder
    assert (bool(inferred.family.inferred), declared.family.inferred) == (True, {})
    unequal = {field.name for field in fields(declared) if getattr(declared, field.name) != getattr(inferred, field.name)}
    if model_type == "deberta-v2":  # without a table of positions its file says that any text fits; its convolution is missing
        assert (inferred.max_positions, set(declared.shared) - set(inferred.shared)) == (64, {"deberta.encoder.conv"})
        unequal -= {"shared", "max_positions", "relative_positions"}
    assert unequal == {"family"}
    for name, value in inferred.family.inferred.items():
        own = getattr(declared.family, name, None)
        if name in ("linear", "shared"):
            assert set(value) <= set(own)
            assert model_type == "deberta-v2" or set(value) == set(own), "whose positions have layers of their own in version 2"
        elif name in ("dropouts", "refused"):
            assert set(own) - set(value) <= {"cls_dropout"}, "which is in no config by default"
        elif name == "intermediate_size":
            pass  # another name may have the same value
        elif own is not None and not callable(own) and (value or name not in BY_NAMES):
            assert value == own, name
    assert torch.equal(train(), expected)


@pytest.mark.parametrize("strategy", in_tiers(list_encoder_strategies(), QUICK))
def test_a_family_of_which_nothing_is_declared_trains_with_every_strategy_or_refuses_it(tiny, layoutlm, tmp_path, strategy):
    if strategy == "qlora" and not HAS_BITSANDBYTES:
        pytest.skip("bitsandbytes is not installed")
    config = tiny.config(epochs=fewest_epochs(strategy), head="mean" if strategy in SOLVING else "pooler")
    if strategy == "prefix":
        with pytest.raises(ConfigError, match="prefix cannot work on layoutlm: whether its attention takes past keys and val"):
            tiny.build(make(strategy), layoutlm, config)
        return
    built = tiny.build(make(strategy), layoutlm, config)
    before = snapshot(built.model)
    steps = tiny.fit(built, config, tmp_path / "checkpoints").steps
    trained = {parameter.name for parameter in built.parameters.trainable}
    assert moved(before, snapshot(built.model)) <= trained
    if strategy not in ("gradual", "vera", "linear_probe"):  # whose first epoch is the best one; at rest in it; solved
        assert moved(before, snapshot(built.model)) == trained
    if config.head == "pooler":
        assert any("pooler.dense." in name and name.endswith(".weight") for name in trained), "the checkpoint lacks it"
    write_model_folder(tmp_path / "model", built, record_of(tiny, built, config, max(steps, 1)))
    inferring._infer.cache_clear()
    assert torch.equal(logits_of(load_model_folder(tmp_path / "model").model), logits_of(built.model))


def test_what_was_inferred_is_said_in_one_sentence(layoutlm) -> None:
    assert find_model(str(layoutlm)).note == (
        f"--model {layoutlm}: no file describes the family layoutlm, so it was read off the model: layers in encoder.layer; "
        "embeddings in embeddings; pooler: pooler; classifier in classifier; inputs left at their defaults: bbox; "
        "refused strategies: prefix."
    )


def test_two_texts_are_compared_by_an_encoder_that_calls_its_pooler_in_any_case(tiny, layoutlm) -> None:
    objective = tiny.objective("bi_encoder", pairs=True)
    built = tiny.build(make("full"), layoutlm, tiny.config(), objective=objective)
    assert torch.isfinite(logits_of(built.model)).all()


REFUSED = {
    "gpt2": ({"n_embd": 48, "n_layer": 4, "n_head": 4}, "its tokens see none of those after them, as in a decoder"),
    "bart": ({}, "it is an encoder with a decoder"),
    "xlm": ({"emb_dim": 48, "n_layers": 4, "n_heads": 4}, r"it has several lists of layers \(transformer.attentions, "),
    "albert": ({"embedding_size": 16}, "it has no list of layers"),
    "mobilebert": ({"embedding_size": 16, "intra_bottleneck_size": 16}, "padding changes its logits"),
    "eurobert": ({}, "its logits are not what one linear layer makes of one vector a text"),
    "deberta-v2": (
        {"conv_kernel_size": 3, "conv_act": "gelu", "relative_attention": True},
        "computed on from the states of its 1 lowest layers, its logits are others",
    ),
    "lilt": ({}, r"its logits do not depend on lilt\.encoder\.layer"),
    "ibert": ({}, "its layers have no linear layers, on which adapters stand"),
    "esmc": ({}, "it takes nothing in the place of token ids"),
    "deberta": ({}, "a small copy of it does not compute with texts alone, RuntimeError: .*BFloat16"),
    "bert": ({"hidden_size": 16384, "intermediate_size": 65536}, "3 layers has [0-9,]+ parameters, too many to try it"),
    "whisper": ({}, "transformers has no text classifier of that type"),
}


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_does_not_hold_is_refused_with_its_reason(model_type: str) -> None:
    further, reason = REFUSED[model_type]
    with pytest.raises(NotInferredError, match=reason):
        infer_family({"model_type": model_type, **SIZES, **further}, model_type)


def test_a_refusal_names_the_model_and_what_is_supported() -> None:
    message = r"--model mine: architecture 'bart' is not supported: no file describes its family, and .*, for it is an encoder"
    with pytest.raises(ModelError, match=rf"{message} with a decoder\. Supported: albert, bert,"):
        describe_encoder({"model_type": "bart"}, "mine")
