"""What must hold of a model before what was read off it is believed, each tried on the copy."""

from __future__ import annotations

import inspect
from dataclasses import replace

import torch
from torch import nn

from pipeline.modeling.encoder import EncoderSpec
from pipeline.modeling.inferred.probe import DROPOUT, SHORTER, NotInferredError, Probe, are_equal
from pipeline.modeling.split_model import SplitModel

_LONGEST = 256
"""Tokens of the longest text that is tried."""


def check_attention(probe: Probe) -> None:
    """Every token sees those before it and those after it."""
    ids, expected, seen = probe.inputs["input_ids"], probe.states(), []
    for position, rest in ((0, slice(1, None)), (-1, slice(None, -1))):
        other = ids.clone()
        other[0, position] = next(token for token in ids[0] if token != ids[0, position])
        seen.append(not are_equal(probe.states(**probe.inputs | {"input_ids": other})[0, rest], expected[0, rest]))
    if seen == [True, False]:
        raise NotInferredError("its tokens see none of those after them, as in a decoder, which classifies by the last one")
    if not all(seen):
        raise NotInferredError("its tokens do not see one another")


def check_padding(probe: Probe, longest: int) -> None:
    """A text's states and logits are the same alone and beside a long one."""
    length = min(longest, _LONGEST)
    text, pad = probe.inputs["input_ids"][1:, :SHORTER], int(probe.inputs["input_ids"][1, -1])
    ids = probe.inputs["input_ids"][:1].repeat(2, length)[:, :length]
    ids[1, :SHORTER], ids[1, SHORTER:] = text[0], pad
    mask = torch.ones_like(ids)
    mask[1, SHORTER:] = 0
    together, alone = {"input_ids": ids, "attention_mask": mask}, {"input_ids": text, "attention_mask": torch.ones_like(text)}
    logits = probe.logits(**together)
    if not torch.isfinite(logits).all() or are_equal(logits[:1], logits[1:]):
        raise NotInferredError("its logits do not depend on the text, or are no numbers")
    same_states = are_equal(probe.states(**together)[1:, :SHORTER], probe.states(**alone))
    if not (same_states and are_equal(logits[1:], probe.logits(**alone))):
        raise NotInferredError("padding changes its logits, so a prediction would depend on the texts that share a batch")


def check_split(probe: Probe, encoder: EncoderSpec) -> None:
    """Above a cut, the model computes from the states below what it computes as a whole; in training they enter unchanged."""
    if "inputs_embeds" not in inspect.signature(probe.base.forward).parameters:
        raise NotInferredError("it takes nothing in the place of token ids, so that layers cannot be computed by themselves")
    whole, mask = probe.logits(), probe.inputs["attention_mask"]
    for layer in range(1, encoder.depth + 1):
        split_model = SplitModel(probe.model, encoder, layer)
        states = split_model.run_lower(**probe.inputs)
        given = {"inputs_embeds": states, "attention_mask": mask[:, : states.shape[1]]}
        with split_model.upper_only():
            if not are_equal(probe.logits(**given), whole):
                raise NotInferredError(f"computed on from the states of its {layer} lowest layers, its logits are others")
            if layer < encoder.depth:
                probe.model.train()
                entering, _ = probe.entering(probe.model.get_submodule(f"{encoder.layers}.{layer}"), **given)
                probe.model.eval()
                if not torch.equal(entering, states):
                    raise NotInferredError("in training, frozen states change before they enter a layer, as by dropout")


def check_encoder(probe: Probe, encoder: EncoderSpec) -> None:
    """Whatever else is done with a model: dropout, rows of the table, pairs of texts, half precision, other heads.

    Afterwards the copy has no pooler.
    """
    others = [name for name, module in probe.model.named_modules() if isinstance(module, nn.Dropout) and module.p != DROPOUT]
    if others:
        raise NotInferredError(f"no setting of its config is the dropout of {others[0]}")
    table = probe.model.get_input_embeddings()
    named = [name for name, module in probe.model.named_modules() if module is table and isinstance(module, nn.Embedding)]
    if not named or encoder.locate(f"{named[0]}.weight").part != "embeddings":
        raise NotInferredError("its embeddings of tokens are not one table below the layers")
    if encoder.tells_segments:
        kinds = torch.zeros_like(probe.inputs["input_ids"])
        if not are_equal(probe.logits(**probe.inputs, token_type_ids=kinds), probe.logits()):
            raise NotInferredError("token types of zero change its logits")
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
        probe.model(**probe.inputs, labels=torch.tensor([0, 1])).loss.backward()
    if not all(torch.isfinite(each.grad).all() for each in probe.model.parameters() if each.grad is not None):
        raise NotInferredError("its gradients in bfloat16 are no numbers")
    if encoder.pooler and not encoder.family.pooler_is_norm:
        probe.model.set_submodule(encoder.pooler, nn.Identity())
    split_model, whole = SplitModel(probe.model, replace(encoder, reads_first_token=False), encoder.depth), probe.states()
    states = split_model.run_lower(**probe.inputs)
    with split_model.upper_only():
        if not are_equal(probe.states(inputs_embeds=states, attention_mask=probe.inputs["attention_mask"]), whole):
            raise NotInferredError("another head would be given other states")


def takes_embeddings(probe: Probe) -> bool:
    """Whether embeddings of tokens can be given in the place of these, as virtual tokens are."""
    embeds = probe.model.get_input_embeddings()(probe.inputs["input_ids"])
    try:
        logits = probe.logits(inputs_embeds=embeds, attention_mask=probe.inputs["attention_mask"])
    except Exception:  # whatever a model raises that looks at its token ids
        return False
    return are_equal(logits, probe.logits())
