"""Quick dropout is dropout: right shares, right scale, right gradients, nothing without training."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.patches.quick_dropout import attend, drop, quick_dropout


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_elements_are_zero_or_scaled_up_whatever_the_shape(shape, probability) -> None:
    states = torch.ones(shape)
    dropped = drop(states, probability)
    assert dropped.shape == states.shape
    scale = torch.tensor(0.0 if probability == 1.0 else 1 / (1 - probability))
    assert all(value == 0 or torch.isclose(value, scale, rtol=1e-4) for value in dropped.flatten())


@pytest.mark.parametrize("probability", [0.1, 0.2, 0.5])
def test_shares_are_right_in_every_place_of_a_draw(probability) -> None:
    torch.manual_seed(0)
    zeros = (drop(torch.ones(400_000), probability) == 0).double().reshape(-1, 4)
    error = (probability * (1 - probability) / len(zeros)) ** 0.5
    assert zeros.mean(0).numpy() == pytest.approx([probability] * 4, abs=5 * error)
    correlations = np.corrcoef(zeros.numpy().T) - np.eye(4)
    assert abs(correlations).max() < 5 / len(zeros) ** 0.5
    assert float(drop(torch.ones(400_000), probability).mean()) == pytest.approx(1, abs=0.01)


def test_gradients_pass_where_the_states_did() -> None:
    states = torch.randn(50, 20, requires_grad=True)
    dropped = drop(states, 0.5)
    dropped.sum().backward()
    assert torch.equal(states.grad == 0, dropped == 0)
    assert set(states.grad.unique().tolist()) == {0.0, 2.0}


def test_the_same_seed_gives_the_same_mask() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(drop(torch.ones(100), 0.3))
    assert torch.equal(*masks)


@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_is_that_of_torch_but_for_the_dropout(monkeypatch, mask) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4) for _ in range(3))
    allowed = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    allowed[0, :, :, 3:] = False
    given_mask = {None: None, "bool": allowed, "float": torch.zeros(2, 1, 5, 5).masked_fill(~allowed, -1e9)}[mask]
    monkeypatch.setattr("pipeline.training.acceleration.patches.quick_dropout.drop", lambda states, probability: states)
    found, _ = attend(torch.nn.Module(), query, key, value, given_mask, dropout=0.1, scaling=0.3)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=given_mask, scale=0.3)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize("strategy", [None, "lora"])
def test_a_model_draws_quickly_in_training_and_not_at_all_in_evaluation(tiny, family, monkeypatch, strategy) -> None:
    model = load_classifier(find_model(str(tiny.folder(family))), ["a", "b"], dropout=0.2, seed=0).model
    if strategy:
        model = create_strategy(strategy, {}).adapt(model, tiny.context(tiny.folder(family), tiny.config()))
    ids = torch.arange(8, 28).reshape(2, 10)
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    with torch.no_grad():
        before = model.eval()(input_ids=ids, attention_mask=mask).logits
        with quick_dropout(model):
            assert torch.allclose(model(input_ids=ids, attention_mask=mask).logits, before, atol=1e-6)
            with monkeypatch.context() as patched:
                patched.setattr(torch, "bernoulli", None)
                patched.setattr(torch.nn.functional, "dropout", None)
                model.train()
                first, second = (model(input_ids=ids, attention_mask=mask).logits for _ in range(2))
        assert torch.equal(model.eval()(input_ids=ids, attention_mask=mask).logits, before), "as it was, to the last bit"
    assert not torch.allclose(first, second)
    assert torch.isfinite(first).all()
