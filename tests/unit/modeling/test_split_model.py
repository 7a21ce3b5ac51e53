"""A model that is cut computes what the whole model computes, in every architecture and at every layer."""

import pytest
import torch
from tiny_encoders import deberta_v2_config
from transformers import DebertaV2Model

from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model
from pipeline.modeling.split_model import SplitModel
from pipeline.strategies.base import create_strategy


def load(tiny, family: str, dropout: float = 0.0):
    address = find_model(str(tiny.folder(family)))
    return load_classifier(address, ["a", "b"], dropout, seed=0).model, address.encoder


def padded():
    ids = torch.arange(8, 38).reshape(3, 10)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def layers_to_cut_at(encoder) -> list[int]:
    return [encoder.depth] if encoder.shares_layers else list(range(1, encoder.depth + 1))


def test_prefix_and_suffix_make_the_whole(tiny, family) -> None:
    assert_equal_at_every_layer(*load(tiny, family))


@pytest.mark.parametrize(
    "changes",
    [
        {"share_att_key": False},
        {"conv_kernel_size": 0},
        {"conv_kernel_size": 5, "conv_groups": 2, "conv_act": "tanh"},
        {"norm_rel_ebd": "none", "position_buckets": -1},
        {"pos_att_type": ["c2p"]},
        {"relative_attention": False, "position_biased_input": True},
        {"embedding_size": 16, "type_vocab_size": 2},
        {"num_hidden_layers": 2},
    ],
    ids=str,
)
def test_every_kind_of_shared_part_and_convolution_is_split(tmp_path, changes) -> None:
    torch.manual_seed(0)
    DebertaV2Model(deberta_v2_config(**changes)).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    address = find_model(str(tmp_path))
    model = load_classifier(address, ["a", "b"], 0.0, seed=0).model
    encoder = address.encoder
    assert {encoder.locate(name).part for name, _ in model.named_parameters()} <= {"embeddings", "shared", "layer", "head"}
    assert_equal_at_every_layer(model, encoder)


def test_the_convolution_matters(tiny) -> None:
    model, encoder = load(tiny, "deberta-v2")
    before = model.eval()(**padded()).logits
    for layer in range(1, encoder.depth):
        states = SplitModel(model, encoder, layer).run_lower(**padded())
        with torch.no_grad():
            model.deberta.encoder.conv.LayerNorm.bias.add_(1.0)
        assert not torch.allclose(SplitModel(model, encoder, layer).run_lower(**padded())[1], states[1], atol=1e-3)
    assert not torch.allclose(model(**padded()).logits, before, atol=1e-3)


def assert_equal_at_every_layer(model, encoder) -> None:
    names = [name for name, _ in model.named_parameters()]
    labels = torch.tensor([0, 1, 1])
    whole = model(**padded(), labels=labels)
    whole.loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    for layer in layers_to_cut_at(encoder):
        model.zero_grad()
        split_model = SplitModel(model, encoder, layer)
        states = split_model.run_lower(**padded())
        with split_model.upper_only():
            rest = model(inputs_embeds=states, attention_mask=padded()["attention_mask"][:, : states.shape[1]], labels=labels)
        rest.loss.backward()
        assert torch.allclose(rest.logits, whole.logits, atol=1e-6)
        assert [name for name, _ in model.named_parameters()] == names
        trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert trained
        for name, gradient in trained.items():
            place = encoder.locate(name)
            assert place.part != "embeddings"
            assert place.layer is None or place.layer >= layer
            if place.part != "shared":  # of which the layers below have their part, so that it is frozen wherever one cuts
                assert torch.allclose(gradient, expected[name], atol=1e-6), name


def test_above_the_top_layer_only_what_the_head_reads_is_left(tiny, family) -> None:
    model, encoder = load(tiny, family)
    length = 1 if encoder.reads_first_token else 10
    assert SplitModel(model, encoder, encoder.depth).run_lower(**padded()).shape == (3, length, encoder.hidden_size)


def test_a_head_that_reads_all_tokens_is_given_all(tiny) -> None:
    model, encoder = load(tiny, "modernbert")
    from dataclasses import replace

    everywhere = replace(encoder, reads_first_token=False)
    assert SplitModel(model, everywhere, encoder.depth).run_lower(**padded()).shape == (3, 10, encoder.hidden_size)


def test_the_prefix_has_no_dropout_and_leaves_the_mode_alone(tiny, family) -> None:
    model, encoder = load(tiny, family, dropout=0.5)
    model.train()
    split_model = SplitModel(model, encoder, encoder.depth)
    first, second = split_model.run_lower(**padded()), split_model.run_lower(**padded())
    assert torch.equal(first, second)
    assert model.training
    assert not first.requires_grad


def test_a_model_wrapped_by_peft_is_cut(tiny) -> None:
    model, encoder = load(tiny, "bert")
    wrapped = create_strategy("lora", {}).adapt(model, tiny.context(tiny.folder(), tiny.config())).eval()
    split_model = SplitModel(wrapped, encoder, 2)
    with torch.no_grad():
        states = split_model.run_lower(**padded())
        with split_model.upper_only():
            rest = wrapped(inputs_embeds=states, attention_mask=padded()["attention_mask"]).logits
        assert torch.allclose(rest, wrapped(**padded()).logits, atol=1e-6)


def test_the_model_is_whole_again_after_an_error(tiny) -> None:
    model, encoder = load(tiny, "bert")
    before = dict(model.named_modules())
    with pytest.raises(ZeroDivisionError), SplitModel(model, encoder, 1).upper_only():
        raise ZeroDivisionError
    assert dict(model.named_modules()) == before
