"""LoRA in three products is the LoRA of peft: same outputs, same gradients, and peft's own again afterwards."""

import pytest
import torch

from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import StrategyContext, create_strategy
from pipeline.training.acceleration.patches.fused_lora import fused_lora

LINEAR_LAYERS = 4 * 6 + 1  # four layers of the tiny encoder, and its pooler


@pytest.fixture
def build(tiny):
    def build(strategy, **arguments):
        address = find_model(str(tiny.folder()), None)
        model = load_classifier(address, ("a", "b"), 0.0, 3, {}).model
        adapted = create_strategy(strategy, arguments).adapt(model, StrategyContext(address.encoder, 1, 1, 0.0))
        generator = torch.Generator().manual_seed(5)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:  # which begins as zeros
                parameter.data.normal_(std=0.1, generator=generator)
        return adapted.train()

    return build


def fused(model):
    return sum("forward" in vars(module) for module in model.modules() if hasattr(module, "lora_A"))


def outcome(model):
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(5, 150, (6, 11), generator=generator)
    mask = torch.ones_like(ids)
    mask[2, 7:] = 0
    torch.manual_seed(2)
    found = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([0, 1, 1, 0, 1, 0]))
    model.zero_grad()
    found.loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    return found.logits.detach(), gradients


@pytest.mark.parametrize(
    ("strategy", "arguments"),
    [("lora", {}), ("lora", {"targets": ["query-value"], "r": 3}), ("rslora", {"r": 16}), ("lora", {"lora_dropout": 0.3})],
)
def test_outputs_and_gradients_are_those_of_peft(build, strategy, arguments) -> None:
    model = build(strategy, **arguments)
    logits, gradients = outcome(model)
    with fused_lora(model):
        assert fused(model) == (8 if "targets" in arguments else LINEAR_LAYERS)
        quick_logits, quick_gradients = outcome(model)
    assert not fused(model)
    assert torch.allclose(quick_logits, logits, rtol=1e-4, atol=1e-5)
    assert quick_gradients.keys() == gradients.keys()
    assert sum("lora_" in name for name in gradients) >= 16
    for name, gradient in gradients.items():
        assert torch.allclose(quick_gradients[name], gradient, rtol=1e-3, atol=1e-5), name


def test_the_update_is_left_out_where_adapters_are_disabled(build) -> None:
    model = build("lora")
    ids = torch.arange(5, 16).unsqueeze(0)
    with torch.no_grad(), model.disable_adapter():
        plain = model(input_ids=ids).logits
        with fused_lora(model):
            assert torch.equal(model(input_ids=ids).logits, plain)
    assert not torch.allclose(model(input_ids=ids).logits, plain)


@pytest.mark.parametrize("strategy", ["dora", "ia3", "oft", "full", "head_only"])
def test_what_is_no_plain_lora_stays_as_it_is(build, strategy) -> None:
    model = build(strategy)
    with fused_lora(model):
        assert not fused(model)


def test_peft_computes_again_after_an_error(build) -> None:
    model = build("lora")
    with pytest.raises(RuntimeError, match="in the block"), fused_lora(model):
        raise RuntimeError("in the block")
    assert not fused(model)
