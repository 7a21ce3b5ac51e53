"""The tensors in the weights held against those of the model, as sets and both ways, after transformers' own renamings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError, enumerate_some
from pipeline.modeling.encoder import EncoderSpec
from pipeline.modeling.model_sources import ModelAddress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAMED = 3  # in a message; the others are counted
_BUFFERS = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq)$")
_RELATIVE = "distance_embedding"
_BESIDE = "Put the config.json beside the weights that it belongs to."


@dataclass(frozen=True)
class WeightMatch:
    """What was found where weights were put into a model, all in the names of that model."""

    lacking: frozenset[str]
    """Parameters that the weights do not hold, or hold in another shape."""
    ignored: tuple[str, ...]
    """Tensors that the model has no use for: heads of other tasks, buffers, poolers."""

    def note(self, name: str) -> str:
        """What was ignored, as a sentence; empty if nothing was.

        Args:
            name: What the user called the model.
        """
        if not self.ignored:
            return ""
        counts = Counter(_group(tensor) for tensor in self.ignored)
        groups = [f"{group} ({count} tensors)" if count > 1 else group for group, count in sorted(counts.items())]
        return f"--model {name}: not used of its weights: {enumerate_some(groups, 8)}."


def match_weights(
    address: ModelAddress, model: PreTrainedModel, tensors: Collection[str], info: Mapping[str, Collection[Any]]
) -> WeightMatch:
    """Judge what transformers reports of loading.

    Args:
        tensors: Names in the weights, as they were given to transformers.
        info: Its report.

    Raises:
        ModelError: A tensor of embeddings or layers has no place in the model or another shape, a place has no tensor, or two.
    """
    encoder = address.encoder
    mismatched = {item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]}
    missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
    unexpected -= {tensor for tensor in unexpected if _BUFFERS.search(tensor)}
    passed_over = _find_passed_over(model, tensors)
    begin = f"--model {address.name}:"
    described = f"the {encoder.model_type} that config.json describes"
    if strange := sorted(name for name in mismatched if encoder.locate(name).part != "head"):
        raise ModelError(f"{begin} {_some(strange)} has another shape in the weights than in config.json. {_BESIDE}")
    lacking = sorted(name for name in missing if _is_pretrained(encoder, name))
    homeless = sorted(name for name in unexpected if _is_of_encoder(model, name))
    if lacking and (prefix := _find_prefix(lacking, unexpected, model.base_model_prefix)):
        raise ModelError(
            f"{begin} the names in its weights begin with {prefix!r}, which the names of {described} do not, such as "
            f"{sorted(unexpected)[0]}. Take that off, and save the weights again."
        )
    messages = []
    if lacking:
        messages.append(
            f"{begin} its weights lack {len(lacking)} parameters of {described}, such as {_some(lacking)}. {_BESIDE}"
        )
    if relative := [name for name in homeless if _RELATIVE in name]:
        messages.append(
            f"{begin} its weights hold relative positions in {len(relative)} tensors ({_some(relative)}), which this "
            "version of transformers does not compute; without them it is another model. Choose one with absolute positions."
        )
    elif homeless:
        messages.append(
            f"{begin} its weights hold {len(homeless)} tensors of an encoder that have no place in {described}: "
            f"{_some(homeless)}. {_BESIDE}"
        )
    buffers = {tensor for tensor in tensors if _BUFFERS.search(tensor)}
    if len(tensors) - len(buffers) - len(unexpected | passed_over) > len(model.state_dict()) - len(missing):
        twice = _find_twice(tensors, model.base_model_prefix)
        messages.append(
            f"{begin} its weights hold {twice or 'a tensor'} twice, under two names of which transformers would take one "
            "without a word. Remove the other, and save the weights again."
        )
    if messages:
        raise ModelError(*messages)
    return WeightMatch(frozenset(missing | mismatched), tuple(sorted(unexpected | passed_over | buffers)))


def _find_passed_over(model: PreTrainedModel, tensors: Collection[str]) -> set[str]:
    """Tensors without a place of which transformers' report says nothing, such as DeBERTa's table of absolute positions."""
    state = model.state_dict()
    patterns = model._keys_to_ignore_on_load_unexpected or ()
    absent = [pattern for pattern in patterns if not any(re.search(pattern, name) for name in state)]
    return {tensor for tensor in tensors if any(re.search(pattern, tensor) for pattern in absent)}


def _find_twice(tensors: Collection[str], base_prefix: str) -> str:
    """Tensors that come to one name: with and without the family's prefix, or the old and the new name of a layer norm."""
    by_name: dict[str, list[str]] = {}
    for tensor in sorted(tensors):
        plain = tensor.removeprefix(f"{base_prefix}.").replace("LayerNorm.gamma", "LayerNorm.weight")
        by_name.setdefault(plain.replace("LayerNorm.beta", "LayerNorm.bias"), []).append(tensor)
    return _some([" and ".join(names) for names in by_name.values() if len(names) > 1])


def _some(names: list[str]) -> str:
    return enumerate_some(names, _NAMED)


def _group(tensor: str) -> str:
    """The module on top, or the pooler or a table of an encoder; a buffer by itself."""
    if _BUFFERS.search(tensor):
        return tensor.rpartition(".")[2]
    if "embeddings." in tensor:
        return tensor.removesuffix(".weight")
    head, pooler, _ = tensor.partition("pooler.")
    return head + pooler.rstrip(".") if pooler else tensor.partition(".")[0]


def _is_pretrained(encoder: EncoderSpec, name: str) -> bool:
    """Whether a parameter must come from the checkpoint: no head trains embeddings, layers, or a norm that all tokens pass."""
    part = encoder.locate(name).part
    is_norm = encoder.family.pooler_is_norm or (encoder.final_norm is not None and name.startswith(f"{encoder.final_norm}."))
    return part in ("embeddings", "shared", "layer") or (part == "pooler" and is_norm)


def _is_of_encoder(model: PreTrainedModel, tensor: str) -> bool:
    """Whether a tensor without a place belongs to the encoder, under the model's name of it or none, and is no pooler's."""
    prefix = f"{model.base_model_prefix}."
    top = tensor.removeprefix(prefix).partition(".")[0]
    inside = tensor.startswith(prefix) or top in {name for name, _ in model.base_model.named_children()}
    return inside and top != "pooler"


def _find_prefix(lacking: Collection[str], unexpected: Collection[str], base_prefix: str) -> str:
    """What stands before the names of all that is lacking; empty if nothing does."""
    for own in (next(iter(lacking)), next(iter(lacking)).removeprefix(f"{base_prefix}.")):
        for tensor in unexpected:
            prefix = tensor.removesuffix(own)
            if prefix != tensor and prefix.endswith("."):
                bare = own not in lacking
                wanted = (name.removeprefix(f"{base_prefix}.") if bare else name for name in lacking)
                if all(prefix + name in unexpected for name in wanted):
                    return prefix
    return ""
