"""A text's logits do not depend on the padding of its batch; architectures of which that is not true are refused."""

import json

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

from pipeline.errors import ModelError
from pipeline.modeling.encoder import FAMILY_HEAD, describe_encoder
from pipeline.modeling.family import list_model_types, list_unsupported
from pipeline.modeling.head import list_heads
from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model

SHORT, LONG = 9, 33
SIZES = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
FURTHER = {
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16},
    "nystromformer": {"num_landmarks": LONG, "segment_means_seq_len": LONG},  # of any length without means
}
PADDED = [model_type for model_type, reason in list_unsupported().items() if reason.startswith("padding")]
HEADS = [*((family, FAMILY_HEAD) for family in list_model_types()), *(("bert", head) for head in list_heads())]


def greatest_change(model: torch.nn.Module, pad_id: int) -> float:
    """How far a text's logits move once it is padded beside a longer one, and once all three are longer still."""
    torch.manual_seed(1)
    model.eval()
    for table in model.modules():  # an embedding of padding is zero only where nothing was trained
        if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None:
            torch.nn.init.normal_(table.weight.data[table.padding_idx], std=0.2)
    text, other = torch.randint(8, 150, (1, SHORT)), torch.randint(8, 150, (1, LONG))
    batch, mask = torch.full((2, LONG), pad_id), torch.ones(2, LONG, dtype=torch.long)
    batch[0, :SHORT], batch[1], mask[0, SHORT:] = text, other, 0
    with torch.no_grad():
        alone = model(input_ids=text, attention_mask=torch.ones_like(text)).logits
        padded = model(input_ids=batch, attention_mask=mask).logits
        whole = model(input_ids=other, attention_mask=torch.ones_like(other)).logits
    assert (padded[0] - padded[1]).abs().max() > 1e-3, "the two texts differ"
    return max(float((alone - padded[:1]).abs().max()), float((whole - padded[1:]).abs().max()))


@pytest.mark.parametrize(("family", "head"), HEADS)
def test_logits_of_a_text_are_the_same_alone_and_padded(tiny, family: str, head: str) -> None:
    address = find_model(str(tiny.folder(family)))
    model = load_classifier(address, ["a", "b"], dropout=0.0, seed=0, head=head).model
    assert next(model.parameters()).dtype == torch.float32
    assert greatest_change(model, model.config.pad_token_id) < 1e-5


@pytest.mark.parametrize("family", list_model_types())
def test_a_tokenizer_may_pad_with_another_token_than_config_json_says(tiny, family: str) -> None:
    """Attention masks alone say what is padding; positions that are counted from it, RoBERTa's, go on behind the text."""
    model = load_classifier(find_model(str(tiny.folder(family))), ["a", "b"], dropout=0.0, seed=0).model
    assert model.config.pad_token_id != 7
    assert greatest_change(model, pad_id=7) < 1e-5


@pytest.mark.parametrize("model_type", PADDED)
def test_what_is_refused_for_its_padding_would_not_be_reproducible(model_type: str) -> None:
    with pytest.raises(
        ModelError, match=f"--model mine: architecture '{model_type}' is not supported: padding changes its logits"
    ):
        describe_encoder({"model_type": model_type}, "mine")
    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](**SIZES, **FURTHER.get(model_type, {}), pad_token_id=0, initializer_range=0.2)
    assert greatest_change(AutoModelForSequenceClassification.from_config(config), pad_id=0) > 1e-4


def test_no_attention_is_computed_by_blocks_that_a_shorter_batch_would_turn_off(tiny) -> None:
    folder = tiny.folder("big_bird")
    config = json.loads((folder / "config.json").read_text())
    assert config["attention_type"] == "block_sparse"
    model = load_classifier(find_model(str(folder)), ["a", "b"], dropout=0.0, seed=0).model
    assert model.base_model.attention_type == model.config.attention_type == "original_full"
    assert describe_encoder({"model_type": "big_bird"}, "mine").max_positions == 704
    assert describe_encoder({"model_type": "big_bird", "block_size": 16}, "mine").max_positions == 176


def test_reasons_are_known() -> None:
    assert {"convbert", "fnet", "yoso", "nystromformer"} <= set(PADDED)
    assert not set(list_unsupported()) & set(list_model_types())


def test_what_has_no_linear_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="architecture 'squeezebert' is not supported: its layers are convolutions in groups"):
        describe_encoder({"model_type": "squeezebert"}, "mine")
    layers = AutoModelForSequenceClassification.from_config(CONFIG_MAPPING["squeezebert"](**SIZES, embedding_size=32))
    kinds = {type(module) for module in layers.base_model.encoder.modules()}
    assert torch.nn.Conv1d in kinds
    assert torch.nn.Linear not in kinds


def test_what_only_its_own_classifier_reads_right_is_refused() -> None:
    with pytest.raises(ModelError, match="architecture 'longformer' is not supported: its own classifier alone lets"):
        describe_encoder({"model_type": "longformer"}, "mine")
    config = CONFIG_MAPPING["longformer"](**SIZES, attention_window=8, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.randint(8, 150, (1, 24))
    with pytest.raises(TypeError):
        model(inputs_embeds=model.get_input_embeddings()(ids))
    with torch.no_grad():
        without = model.base_model(input_ids=ids).last_hidden_state
        globally = torch.zeros_like(ids).index_fill(1, torch.tensor([0]), 1)
        assert not torch.allclose(model.base_model(input_ids=ids, global_attention_mask=globally).last_hidden_state, without)
