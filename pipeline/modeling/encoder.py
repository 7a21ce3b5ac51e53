"""Where embeddings, layers, pooler, head and linear layers live in each encoder architecture.

Attribute paths such as `bert.encoder.layer` stand here alone; `layer_parts` names what is inside a layer, and the acceleration
`first_token` calls the parts of BERT's. Reading a description needs no weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import ModelError

FAMILY_HEAD = "pooler"
"""Name of the head that a family's own classification model has."""

Part = Literal["embeddings", "layer", "pooler", "head", "added", "spare"]


@dataclass(frozen=True)
class Architecture:
    """The names that one model family gives to its parts, as they begin parameter names."""

    embeddings: tuple[str, ...]
    """The tables, and the projection to the hidden size where the family has one."""
    layers: str
    pooler: str | None
    """What pretraining left between the top layer and the head: BERT's pooler, ModernBERT's final norm."""
    head: tuple[str, ...]
    """Every module of the classifier; those that the checkpoint lacks are drawn anew."""
    linear: tuple[str, ...]
    """Last names of every linear layer of encoder and pooler: what LoRA adapts."""
    dropouts: tuple[str, ...]
    """Names in `config.json` of the dropout probabilities: of hidden states, of attention, of the classifier."""
    takes_prefix: bool = True
    """Whether keys and values can be put before those of every layer (prefix tuning)."""
    counts_positions_from_padding: bool = False
    """Whether the first token has position `pad_token_id + 1`, so that the table holds fewer usable positions than rows."""
    feed_forward_matrices: int = 2
    """Matrices of hidden x intermediate size in a layer: two, or three where a gate is computed beside (GLU)."""
    bias_switches: tuple[str, ...] = ()
    """Names in `config.json` that give the encoder biases, where it has none by itself."""
    layer_sets: str | None = None
    """Name in `config.json` of the number of sets of weights that the layers share, where they do."""
    pooler_is_norm: bool = False
    """Whether `pooler` is a norm that every token passes, so that it stays below every head."""
    logits: str = "classifier.out_proj"
    """The linear layer with an output per class."""
    linear_head: bool = False
    """Whether one linear layer is all of the head that has parameters."""
    lays_out_layers_as_bert: bool = False
    """Whether a layer is `attention.self`, `attention.output`, `intermediate` and `output`, as in BERT."""


_BERT_LINEAR = ("query", "key", "value", "dense")
_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")


def _roberta() -> Architecture:
    return Architecture(
        embeddings=("roberta.embeddings",),
        layers="roberta.encoder.layer",
        pooler=None,  # the classifier has a dense layer of its own, and the checkpoint's pooler is not used
        head=("classifier",),
        linear=_BERT_LINEAR,
        dropouts=_BERT_DROPOUTS,
        counts_positions_from_padding=True,
        lays_out_layers_as_bert=True,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "albert": Architecture(
        embeddings=("albert.embeddings", "albert.encoder.embedding_hidden_mapping_in"),
        layers="albert.encoder.albert_layer_groups",
        pooler="albert.pooler",
        head=("classifier",),
        linear=("query", "key", "value", "dense", "ffn", "ffn_output", "pooler"),
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob"),
        takes_prefix=False,
        logits="classifier",
        linear_head=True,
        layer_sets="num_hidden_groups",
    ),
    "bert": Architecture(
        embeddings=("bert.embeddings",),
        layers="bert.encoder.layer",
        pooler="bert.pooler",
        head=("classifier",),
        linear=_BERT_LINEAR,
        dropouts=_BERT_DROPOUTS,
        logits="classifier",
        linear_head=True,
        lays_out_layers_as_bert=True,
    ),
    "distilbert": Architecture(
        embeddings=("distilbert.embeddings",),
        layers="distilbert.transformer.layer",
        pooler=None,
        head=("pre_classifier", "classifier"),
        linear=("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
        dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
        logits="classifier",
        takes_prefix=False,
    ),
    "electra": Architecture(
        embeddings=("electra.embeddings", "electra.embeddings_project"),
        layers="electra.encoder.layer",
        pooler=None,
        head=("classifier",),
        linear=_BERT_LINEAR,
        dropouts=_BERT_DROPOUTS,
        lays_out_layers_as_bert=True,
    ),
    "modernbert": Architecture(
        embeddings=("model.embeddings",),
        layers="model.layers",
        pooler="model.final_norm",
        pooler_is_norm=True,
        head=("head", "classifier"),
        logits="classifier",
        linear=("Wqkv", "Wo", "Wi"),
        dropouts=("embedding_dropout", "mlp_dropout", "attention_dropout", "classifier_dropout"),
        takes_prefix=False,
        feed_forward_matrices=3,
        bias_switches=("norm_bias", "attention_bias", "mlp_bias"),
    ),
    "roberta": _roberta(),
    "xlm-roberta": _roberta(),
}
"""By the `model_type` of `config.json`. Multilingual BERT is a `bert`."""


@dataclass(frozen=True)
class Place:
    """Where a parameter stands: its name in the plain model, its part, and its layer counted from 0 at the bottom.

    Where layers share weights, `layer` counts the sets of weights.
    """

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
    """Tokens that the position embeddings reach, special tokens included."""
    vocabulary_size: int
    layer_sets: int
    """Sets of weights that the layers have: `depth`, or fewer where layers share them (ALBERT)."""
    has_biases: bool
    """Whether embeddings, layers and pooler have biases."""
    reads_first_token: bool
    """Whether the head reads the first token's state alone."""
    tells_segments: bool = False
    """Whether embeddings say which text of a pair a token is of (`token_type_ids`)."""
    head: str = FAMILY_HEAD
    """Name of the head; `heads` replaces what is said of the family's own where it is another."""

    @property
    def trims_last_layer(self) -> bool:
        """Whether the top layer need compute the first token's state alone (`training/acceleration/first_token.py`)."""
        return self.reads_first_token and self.architecture.lays_out_layers_as_bert

    @property
    def shares_layers(self) -> bool:
        """Whether several layers are one set of weights, so that none of them can train alone."""
        return self.layer_sets < self.depth

    def first_use(self, layer: int) -> int:
        """Depth, counted from 0 at the bottom, at which the weights of `Place.layer` are used first."""
        return -(-layer * self.depth // self.layer_sets)

    def place(self, parameter: str) -> Place:
        """The place of a parameter of the plain (not wrapped) model; `added` if the architecture has no such part."""
        known = self.architecture
        layer = re.match(re.escape(known.layers) + r"\.(\d+)\.", parameter)
        if layer:
            return Place(parameter, "layer", int(layer.group(1)))
        if any(_within(parameter, table) for table in known.embeddings):
            return Place(parameter, "embeddings")
        if known.pooler and _within(parameter, known.pooler):
            return Place(parameter, "pooler")
        if any(_within(parameter, head) for head in known.head):
            return Place(parameter, "head")
        return Place(parameter, "added")


_LARGEST = {"depth": 1000, "layer_sets": 1000}


def describe_encoder(config: Mapping[str, Any], name: str) -> Encoder:
    """The encoder that a model's `config.json` describes.

    Args:
        config: Content of `config.json`.
        name: What the user called the model; stands in messages.

    Raises:
        ModelError: An architecture that is not known here, or a config that does not describe one.
    """
    model_type = config.get("model_type")
    supported = ", ".join(sorted(ARCHITECTURES))
    if not model_type:
        raise ModelError(
            f'--model {name}: config.json does not say which architecture this is. Add "model_type" to it. '
            f"Supported: {supported}."
        )
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise ModelError(f"--model {name}: architecture {model_type!r} is not supported. Supported: {supported}.")
    return _read_shape(dict(config), name, model_type)


def _read_shape(content: dict[str, Any], name: str, model_type: str) -> Encoder:
    """Read through transformers' own config class: families name the same thing differently and have other defaults."""
    from transformers import CONFIG_MAPPING

    known = ARCHITECTURES[model_type]
    try:
        config = CONFIG_MAPPING[model_type].from_dict(content)
        depth = int(config.num_hidden_layers)
        rows, padding = int(config.max_position_embeddings), config.pad_token_id or 0
        encoder = Encoder(
            name=name,
            model_type=model_type,
            architecture=known,
            depth=depth,
            hidden_size=int(config.hidden_size),
            intermediate_size=int(config.hidden_dim if model_type == "distilbert" else config.intermediate_size),
            max_positions=rows - padding - 1 if known.counts_positions_from_padding else rows,
            vocabulary_size=int(config.vocab_size),
            layer_sets=int(getattr(config, known.layer_sets)) if known.layer_sets else depth,
            has_biases=not known.bias_switches or any(getattr(config, switch) for switch in known.bias_switches),
            reads_first_token=getattr(config, "classifier_pooling", "cls") == "cls",
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
    if getattr(config, "inner_group_num", 1) != 1:
        raise ModelError(
            f"--model {name}: inner_group_num={config.inner_group_num} in config.json is not supported, only 1 is."
        )
    return encoder


def _within(parameter: str, module: str) -> bool:
    return parameter.startswith(module + ".")


@dataclass(frozen=True)
class LayerParts:
    """The names that one model family gives to the parts of its layers."""

    attention: tuple[str, ...]
    """The attention block with its output and its norm."""
    query_value: tuple[str, ...]
    """Linear layers that make queries and values; the fused one where a family has no others."""
    key_value: tuple[str, ...]
    """Linear layers that make keys and values."""
    attention_output: str
    """How the name of the attention block's last linear layer ends."""
    feed_forward_output: str
    """How the name of the feed-forward block's last linear layer ends."""


_BERT = LayerParts(
    attention=("attention",),
    query_value=("query", "value"),
    key_value=("key", "value"),
    attention_output="attention.output.dense",
    feed_forward_output="output.dense",
)

LAYER_PARTS: Mapping[str, LayerParts] = {
    "albert": LayerParts(
        attention=("attention",),
        query_value=("query", "value"),
        key_value=("key", "value"),
        attention_output="attention.dense",
        feed_forward_output="ffn_output",
    ),
    "bert": _BERT,
    "distilbert": LayerParts(
        attention=("attention", "sa_layer_norm"),
        query_value=("q_lin", "v_lin"),
        key_value=("k_lin", "v_lin"),
        attention_output="attention.out_lin",
        feed_forward_output="ffn.lin2",
    ),
    "electra": _BERT,
    "modernbert": LayerParts(
        attention=("attn", "attn_norm"),
        query_value=("Wqkv",),
        key_value=("Wqkv",),
        attention_output="attn.Wo",
        feed_forward_output="mlp.Wo",
    ),
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
"""By the `model_type` of `config.json`, for every architecture that `encoder` knows."""
