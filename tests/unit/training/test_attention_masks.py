"""Masks are made without reading a value back, and no kernel needs a plan; what the model computes is the same."""

from dataclasses import replace

import pytest
import torch

from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.base import Target
from pipeline.training.acceleration.patches.attention_kernels import AttentionKernels, attention_without_plans
from pipeline.training.acceleration.patches.attention_masks import make_mask, masks_without_waiting

IDS = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])


def built_model(tiny, family):
    config = tiny.config(dropout=0.0)
    return tiny.build(create_strategy("full", {}), tiny.folder(family), config).model.eval()


@pytest.mark.parametrize("padded", [True, False])
def test_logits_are_those_of_transformers(tiny, family, padded) -> None:
    model = built_model(tiny, family)
    mask = (IDS > 0).long() if padded else torch.ones_like(IDS)
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=mask).logits
        with masks_without_waiting(model):
            found = model(input_ids=IDS, attention_mask=mask).logits
    torch.testing.assert_close(found, expected)


def test_attention_is_as_before_afterwards(tiny) -> None:
    model = built_model(tiny, "bert")
    before = model.config._attn_implementation
    with masks_without_waiting(model):
        assert model.config._attn_implementation != before
    assert model.config._attn_implementation == before


def test_no_value_is_read_back(tiny, family) -> None:
    """A tensor on the meta device has no values: what a GPU would have to be waited for is an error there."""
    model = built_model(tiny, family).to("meta").train()
    if not model._supports_sdpa:
        pytest.skip("transformers makes this model's masks itself, and the patch leaves them alone")
    if hasattr(model.config, "languages"):
        pytest.skip("every layer looks at which text is of which language")
    inputs = {"input_ids": IDS.to("meta"), "attention_mask": torch.ones_like(IDS, device="meta")}
    labels = torch.zeros(len(IDS), dtype=torch.int64, device="meta")
    with masks_without_waiting(model):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert loss.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):  # as transformers has it
        model(**inputs)


def test_without_a_padding_mask_there_is_none() -> None:
    sizes = {"batch_size": 2, "q_length": 3, "kv_length": 3, "allow_is_causal_skip": False}
    assert make_mask(**sizes, allow_is_bidirectional_skip=True) is None
    assert make_mask(**sizes, attention_mask=torch.ones(2, 3, dtype=torch.bool), allow_is_bidirectional_skip=True).shape == (
        2,
        1,
        3,
        3,
    )


def test_no_kernel_of_cudnn_is_taken_on_a_gpu_within_the_block() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with attention_without_plans():
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    target = Target(torch.nn.Identity(), None, torch.device("cuda"))
    assert AttentionKernels().applies(target)
    assert not AttentionKernels().applies(replace(target, device=torch.device("cpu")))


def test_the_last_of_several_blocks_puts_attention_back(tiny) -> None:
    model = built_model(tiny, "bert")
    first, second = masks_without_waiting(model), masks_without_waiting(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert model.config._attn_implementation != "sdpa"
    second.__exit__(None, None, None)
    assert model.config._attn_implementation == "sdpa"
    assert not [name for name in vars(model) if name.startswith("_blocks_of")]
