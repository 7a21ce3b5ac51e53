"""Heads read the text's tokens and nothing else, on every architecture."""

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.head import head_class, list_heads, with_head
from pipeline.modeling.heads.attention import Attention
from pipeline.modeling.heads.mean import Mean
from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.base import accelerated_inference

OWN = [name for name in list_heads() if name != FAMILY_HEAD]


def load(tiny, family: str, head: str, seed: int = 0, pooler: bool = True):
    address = find_model(str(tiny.folder(family, pooler)))
    return load_classifier(address, ["a", "b", "c"], dropout=0.3, seed=seed, head=head)


def padded():
    ids = torch.arange(8, 38).reshape(3, 10)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def test_heads_are_found_and_a_wrong_name_is_answered() -> None:
    assert set(list_heads()) >= {"attention", "mean", "mlp", FAMILY_HEAD}
    with pytest.raises(ConfigError, match=r"--head: Unknown head 'meen'\. Did you mean 'mean'\? Available: attention, "):
        head_class("meen")
    assert all(head_class(name).summary() for name in list_heads())


@pytest.mark.parametrize("head", OWN)
def test_padding_changes_nothing(tiny, family, head) -> None:
    model = load(tiny, family, head).model.eval()
    with torch.no_grad():
        together = model(**padded()).logits
        alone = model(input_ids=padded()["input_ids"][:1, :6], attention_mask=torch.ones(1, 6, dtype=torch.int64)).logits
    assert torch.allclose(together[:1], alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_mean_is_over_the_tokens_of_the_text(tiny, family) -> None:
    model = load(tiny, family, "mean").model.eval()
    with torch.no_grad():
        states = model.base_model(**padded()).last_hidden_state
        expected = (
            torch.stack([states[0, :6].mean(0), states[1].mean(0), states[2].mean(0)]) @ model.classifier.out_proj.weight.T
        )
        assert torch.allclose(model(**padded()).logits, expected, atol=1e-5)


def test_a_mean_by_hand() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]], [[1.0, 1.0], [2.0, 2.0], [6.0, 3.0]]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    assert Mean(2, 2, 0.0).pool(states, mask).tolist() == [[2.0, 4.0], [3.0, 2.0]]


def test_attention_by_hand() -> None:
    head = Attention(2, 2, 0.0)
    with torch.no_grad():
        head.query.weight.copy_(torch.tensor([[1.0, 0.0]]))
    states = torch.tensor([[[0.0, 1.0], [3.0**0.5, 5.0], [9.0, 9.0]]])
    states[0, 1, 0] = torch.tensor(3.0).log()  # weights 1 and 3, of 4
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    assert torch.allclose(head.weigh(states, mask), torch.tensor([[0.25, 0.75, 0.0]]))
    assert torch.allclose(head.pool(states, mask)[0, 1], torch.tensor(4.0))


@pytest.mark.parametrize("head", list_heads())
def test_what_is_said_of_a_head_is_so(tiny, family, head) -> None:
    loaded = load(tiny, family, head)
    encoder = with_head(find_model(str(tiny.folder(family))).encoder, head)
    assert encoder.head == head
    parts = {name: encoder.locate(name).part for name, _ in loaded.model.named_parameters()}
    assert "added" not in parts.values()
    assert ("pooler" in parts.values()) == any((encoder.pooler, encoder.final_norm))
    in_head = [name for name, part in parts.items() if part == "head"]
    assert (len(in_head) == 2) == encoder.linear_head
    assert loaded.newly_initialised <= set(parts)
    assert head == FAMILY_HEAD or set(in_head) <= loaded.newly_initialised


@pytest.mark.parametrize("head", OWN)
def test_a_pooler_that_nothing_reads_is_gone(tiny, head) -> None:
    for family in ("albert", "bert"):
        for pooler in (True, False):
            loaded = load(tiny, family, head, pooler=pooler)
            assert not any("pooler" in name for name in (*loaded.newly_initialised, *loaded.model.state_dict()))
    assert any("final_norm" in name for name, _ in load(tiny, "modernbert", head).model.named_parameters())


@pytest.mark.parametrize("head", OWN)
def test_the_seed_draws_the_head(tiny, head) -> None:
    one, same, other = (load(tiny, "bert", head, seed).model.classifier.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert all(torch.equal(one[name], other[name]) == name.endswith("bias") for name in one)


def test_the_top_layer_is_trimmed_for_a_head_that_reads_the_first_token(tiny) -> None:
    lengths = {}
    for head in list_heads():
        model = load(tiny, "bert", head).model.eval()
        encoder = with_head(find_model(str(tiny.folder())).encoder, head)
        with torch.no_grad():
            whole = model(**padded()).logits
            with accelerated_inference(model, encoder, model.device):
                lengths[head] = model.base_model(**padded()).last_hidden_state.shape[1]
                assert torch.allclose(model(**padded()).logits, whole, atol=1e-5)
    assert lengths == {"attention": 10, "mean": 10, "mlp": 1, "pooler": 1}


@pytest.mark.parametrize("strategy", ["prefix", "prompt", "ptuning"])
@pytest.mark.parametrize("head", ["mean", "attention"])
def test_virtual_tokens_are_left_out(tiny, head, strategy) -> None:
    config = tiny.config(head=head)
    built = tiny.build(create_strategy(strategy, {"num_virtual_tokens": 4}), tiny.folder(), config)
    given = []
    pooling = next(module for name, module in built.model.named_modules() if name.endswith("modules_to_save.default"))
    pooling.register_forward_pre_hook(lambda module, inputs: given.append(inputs))
    with torch.no_grad():
        built.model.eval()(**padded())
    ((states, mask),) = given
    assert states.shape[:2] == (3, 10)
    assert torch.equal(mask, padded()["attention_mask"].float())


def test_they_work_under_autocast(tiny, tmp_path) -> None:
    for head in OWN:
        config = tiny.config(head=head)
        built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
        assert tiny.fit(built, config, tmp_path / head, precision="bf16").train_loss_mean > 0
