"""One encoder as its `config.json` describes it: family, where its parts are, shape. Reading it needs no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import ModelError, shorten
from pipeline.modeling.family import Family, RelativePositions, find_family, find_native, list_model_types

FAMILY_HEAD = "pooler"
"""Name of the head that a family's own classification model has."""

Part = Literal["embeddings", "shared", "layer", "pooler", "head", "added", "unused"]


@dataclass(frozen=True)
class ParameterLocation:
    """Where a parameter stands: its name in the plain model, its part, and its layer counted from 0 at the bottom.

    Where layers share weights, `layer` counts the sets of weights.
    """

    name: str
    part: Part
    layer: int | None = None


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder: where its parts are in the classification model, and its shape."""

    name: str
    model_type: str
    family: Family
    embeddings: tuple[str, ...]
    """Modules of the tables and their projection."""
    shared: tuple[str, ...]
    """Modules outside the layers that every layer uses."""
    layers: str
    """The list of layers."""
    pooler: str | None
    """What stands between the top layer and the head."""
    final_norm: str | None
    """A norm below `pooler` that every token passes, and that stays below every head."""
    head_modules: tuple[str, ...]
    """Every module of the classifier."""
    linear_head: bool
    """Whether one linear layer is all of the head that has parameters."""
    depth: int
    hidden_size: int
    intermediate_size: int
    max_positions: int
    """Tokens that the position embeddings reach, special tokens included."""
    vocabulary_size: int
    layer_sets: int
    """Sets of weights that the layers have: `depth`, or fewer where layers share them (ALBERT)."""
    has_biases: bool
    """Whether embeddings, layers and pooler have biases."""
    reads_first_token: bool
    """Whether the head reads the first token's state alone."""
    unused: tuple[str, ...] = ()
    """Names of modules, wherever they stand, that nothing trains."""
    classifies_tokens: bool = False
    """Whether the head computes logits of every token, of which it takes the mean."""
    tells_segments: bool = False
    """Whether embeddings say which text of a pair a token is of (`token_type_ids`)."""
    layer_weights: int = 0
    """Weights of the linear layers of one layer."""
    relative_positions: RelativePositions | None = None
    head: str = FAMILY_HEAD
    """Name of the head; `heads` replaces what is said of the family's own where it is another."""

    @property
    def trims_last_layer(self) -> bool:
        """Whether the top layer need compute the first token's state alone (`training/acceleration/patches/first_token.py`)."""
        return self.reads_first_token and self.family.trims_last_layer

    @property
    def shares_layers(self) -> bool:
        """Whether several layers are one set of weights, so that none of them can train alone."""
        return self.layer_sets < self.depth

    def first_use(self, layer: int) -> int:
        """Depth, counted from 0 at the bottom, at which the weights of `ParameterLocation.layer` are used first."""
        return -(-layer * self.depth // self.layer_sets)

    def locate(self, parameter: str) -> ParameterLocation:
        """The place of a parameter of the plain (not wrapped) model; `added` if the family has no such part."""
        if not set(self.unused).isdisjoint(parameter.split(".")):
            return ParameterLocation(parameter, "unused")
        layer = re.match(re.escape(self.layers) + r"\.(\d+)\.", parameter)
        if layer:
            return ParameterLocation(parameter, "layer", int(layer.group(1)))
        if any(_within(parameter, table) for table in self.embeddings):
            return ParameterLocation(parameter, "embeddings")
        if any(_within(parameter, module) for module in self.shared):
            return ParameterLocation(parameter, "shared")
        if any(module and _within(parameter, module) for module in (self.pooler, self.final_norm)):
            return ParameterLocation(parameter, "pooler")
        if any(_within(parameter, head) for head in self.head_modules):
            return ParameterLocation(parameter, "head")
        return ParameterLocation(parameter, "added")


_LARGEST = {"depth": 1000, "layer_sets": 1000}


def describe_encoder(config: Mapping[str, Any], name: str) -> EncoderSpec:
    """The encoder that a model's `config.json` describes.

    Args:
        config: Content of `config.json`.
        name: What the user called the model; stands in messages.

    Raises:
        ModelError: An architecture that is not known here or cannot be used, or a config that does not describe one.
    """
    model_type = config.get("model_type")
    family = find_family(model_type)
    _refuse_remote_code(config, name, is_known=family is not None)
    if family is not None and not family.unsupported:
        return read_shape(dict(config), name, str(model_type), family)
    supported = ", ".join(list_model_types())
    reason = family.unsupported if family else ""
    if isinstance(model_type, str) and model_type and family is None:
        from pipeline.modeling.inferred.family import infer_family
        from pipeline.modeling.inferred.probe import NotInferredError

        try:
            return read_shape(dict(config), name, model_type, infer_family(config, model_type))
        except NotInferredError as error:
            reason = f"no file describes its family, and it is not read off the model, for {error}"
    if reason:
        raise ModelError(f"--model {name}: architecture {model_type!r} is not supported: {reason}. Supported: {supported}.")
    if not model_type:
        raise ModelError(
            f'--model {name}: config.json does not say which architecture this is. Add "model_type" to it. '
            f"Supported: {supported}."
        )
    raise ModelError(f"--model {name}: architecture {model_type!r} is not supported. Supported: {supported}.")


def _refuse_remote_code(config: Mapping[str, Any], name: str, is_known: bool) -> None:
    """Refuse a model that is computed by code of its own, whatever `model_type` it took: Jina v2 calls itself a BERT.

    Models that transformers has taken in since (Nomic) keep their `auto_map`, and need it no more.
    """
    remote = config.get("auto_map")
    if not isinstance(remote, Mapping) or not (remote.get("AutoModel") or remote.get("AutoModelForMaskedLM") or not is_known):
        return
    entry = remote.get("AutoModel") or remote.get("AutoModelForMaskedLM") or next(iter(remote.values()), "")
    its_class = str(entry).rpartition(".")[2]
    import transformers

    if is_known and hasattr(transformers, its_class):
        return
    native = find_native(its_class)
    instead = f"The same architecture without: {native}." if native else f"Supported: {', '.join(list_model_types())}."
    raise ModelError(
        f"--model {name}: is computed by code of its own ({shorten(str(entry).rpartition('--')[2])}, auto_map in config.json), "
        f"and no code of a model is ever run. {instead}"
    )


def read_shape(content: dict[str, Any], name: str, model_type: str, family: Family) -> EncoderSpec:
    """Read through transformers' own config class: families name the same thing differently and have other defaults."""
    from transformers import CONFIG_MAPPING

    base = family.base_prefix
    try:
        config = CONFIG_MAPPING[model_type].from_dict(content)
        encoder = EncoderSpec(
            name=name,
            model_type=model_type,
            family=family,
            embeddings=tuple(f"{base}.{module}" for module in family.embeddings),
            shared=tuple(f"{base}.{module}" for module in family.shared),
            layers=f"{base}.{family.layers}",
            pooler=f"{base}.{family.pooler}" if family.pooler else None,
            final_norm=f"{base}.{family.final_norm}" if family.final_norm else None,
            head_modules=family.head,
            linear_head=family.linear_head,
            depth=int(config.num_hidden_layers),
            hidden_size=int(config.hidden_size),
            intermediate_size=int(getattr(config, family.intermediate_size)),
            max_positions=family.max_positions(config),
            vocabulary_size=int(config.vocab_size),
            layer_sets=family.layer_sets(config),
            has_biases=family.has_biases(config),
            reads_first_token=family.reads_first_token(config),
            unused=family.unused(config),
            layer_weights=family.layer_weights(config),
            relative_positions=family.relative_positions(config),
            classifies_tokens=family.classifies_tokens(config),
            tells_segments=getattr(config, "type_vocab_size", 1) > 1,
        )
    except Exception as error:  # transformers' validation raises its own, and whatever the values' types raise
        raise ModelError(
            f"--model {name}: config.json does not describe a {model_type}: {' '.join(str(error).split())}."
        ) from error
    sizes = ("depth", "hidden_size", "intermediate_size", "max_positions", "vocabulary_size", "layer_sets")
    if wrong := [f"{size}={value}" for size in sizes if (value := getattr(encoder, size)) < 1]:
        raise ModelError(f"--model {name}: config.json describes a {model_type} with {', '.join(wrong)}.")
    # Layers are made one by one, so with a number of layers that is a slip of the pen it would never end.
    if large := [f"{size}={value:,}" for size in sizes if (value := getattr(encoder, size)) > _LARGEST.get(size, 10**9)]:
        raise ModelError(f"--model {name}: config.json describes a {model_type} with {', '.join(large)}. No such model exists.")
    if reason := family.why_unsupported(config):
        raise ModelError(f"--model {name}: {reason}.")
    return encoder


def _within(parameter: str, module: str) -> bool:
    return parameter.startswith(module + ".")
