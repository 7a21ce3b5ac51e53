"""Where embeddings, layers, pooler, head and linear layers live in each encoder architecture.

The only module that knows attribute paths such as `bert.encoder.layer`. Reading a description needs no weights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import ModelError

Part = Literal["embeddings", "layer", "pooler", "head", "added", "spare"]


@dataclass(frozen=True)
class Architecture:
    """The names that one model family gives to its parts, as they begin parameter names."""

    embeddings: str
    layers: str
    pooler: str | None
    head: tuple[str, ...]
    linear: tuple[str, ...]
    """Last names of every linear layer of encoder and pooler: what LoRA adapts."""
    dropouts: tuple[str, ...]
    """Names in `config.json` of the dropout probabilities: of hidden states, of attention, of the classifier."""
    takes_prefix: bool
    """Whether keys and values can be put before those of every layer (prefix tuning)."""


ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture(
        embeddings="bert.embeddings",
        layers="bert.encoder.layer",
        pooler="bert.pooler",
        head=("classifier",),
        linear=("query", "key", "value", "dense"),
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
        takes_prefix=True,
    ),
}


@dataclass(frozen=True)
class Place:
    """Where a parameter stands: its name in the plain model, its part, and its layer counted from 0 at the bottom."""

    name: str
    part: Part
    layer: int | None = None


@dataclass(frozen=True)
class Encoder:
    """One encoder's architecture and shape."""

    name: str
    model_type: str
    architecture: Architecture
    depth: int
    hidden_size: int
    intermediate_size: int
    max_positions: int

    def place(self, parameter: str) -> Place:
        """The place of a parameter of the plain (not wrapped) model; `added` if the architecture has no such part."""
        known = self.architecture
        layer = re.match(re.escape(known.layers) + r"\.(\d+)\.", parameter)
        if layer:
            return Place(parameter, "layer", int(layer.group(1)))
        if _within(parameter, known.embeddings):
            return Place(parameter, "embeddings")
        if known.pooler and _within(parameter, known.pooler):
            return Place(parameter, "pooler")
        if any(_within(parameter, head) for head in known.head):
            return Place(parameter, "head")
        return Place(parameter, "added")


def describe_encoder(config: Mapping[str, Any], name: str) -> Encoder:
    """The encoder that a model's `config.json` describes.

    Args:
        config: Content of `config.json`.
        name: What the user called the model; stands in messages.

    Raises:
        ModelError: An architecture that is not known here, or a config without its shape.
    """
    model_type = str(config.get("model_type", ""))
    if model_type not in ARCHITECTURES:
        raise ModelError(
            f"--model {name}: architecture {model_type or 'not named in config.json'!r} is not supported. "
            f"Supported: {', '.join(sorted(ARCHITECTURES))}."
        )
    try:
        return Encoder(
            name=name,
            model_type=model_type,
            architecture=ARCHITECTURES[model_type],
            depth=int(config.get("num_hidden_layers", 12)),
            hidden_size=int(config.get("hidden_size", 768)),
            intermediate_size=int(config.get("intermediate_size", 3072)),
            max_positions=int(config.get("max_position_embeddings", 512)),
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"--model {name}: config.json holds a shape that is not a number: {error}.") from error


def _within(parameter: str, module: str) -> bool:
    return parameter.startswith(module + ".")
