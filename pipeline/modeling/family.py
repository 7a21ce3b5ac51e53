"""What a family of encoders declares: its model types, where its parts are, and what cannot be done with it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.errors import PluginError
from pipeline.registry import FAMILIES

TAKES_NO_PAST = "its attention takes no past keys and values"
"""Why prefix tuning cannot work on a family."""
TAKES_PAST_AS_DECODER = "its attention takes past keys and values in a decoder alone"
"""Why it cannot work on a family whose forward has the argument, and fails with it."""
UNLIMITED = 1_000_000
"""Positions of a family whose positions no text is too long for."""


@dataclass(frozen=True)
class RelativePositions:
    """A table of relative positions: every layer makes keys and queries of its rows, and holds them against the tokens'."""

    rows: int
    projections: tuple[str, ...]
    """Last names of the linear layers that make them, in every layer."""
    tokens_pass: bool
    """Whether tokens pass those linear layers, too."""
    follows_length: bool
    """Whether no more rows are taken than twice a text's length."""


@dataclass(frozen=True)
class Family:
    """How one family of encoders names its parts in transformers, and how it differs from BERT, whose values are the defaults.

    A family lives in a module of its own in this folder. Names are those of its `...ForSequenceClassification`. One default
    is not BERT's, because it would be wrong without an error: that the top layer can be trimmed, a family says itself.

    The methods are given transformers' config of one model, and may raise whatever a config without sense makes them raise.
    """

    model_types: ClassVar[tuple[str, ...]]
    """Every `model_type` of `config.json` that is described here."""
    base_prefix: ClassVar[str]
    """Where the encoder stands in the classification model (`base_model_prefix`); the names below are inside it."""

    examples: ClassVar[tuple[str, ...]] = ()
    """Models of the family, for the reference."""
    unsupported: ClassVar[str | None] = None
    """Why no model of these types can be used, as in "architecture 'fnet' is not supported: REASON."; the rest is not read
    then."""

    inferred: ClassVar[Mapping[str, Any]] = {}
    """What was read off a model, where no file describes its family (`modeling/inferred`)."""

    native_of: ClassVar[Mapping[str, str]] = {}
    """Class by which a model's own code describes this architecture -> a checkpoint of it that needs no code of its own."""

    embeddings: ClassVar[tuple[str, ...]] = ("embeddings",)
    """Modules of the tables, and of the projection to the hidden size where the family has one."""
    layers: ClassVar[str] = "encoder.layer"
    """The list of layers, or of the sets of weights that layers share."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Modules outside the layers that every layer uses, such as a table of relative positions. Once they train, no layer is as
    it was loaded."""
    pooler: ClassVar[str | None] = "pooler"
    """What pretraining left between the top layer and the head: BERT's pooler, ModernBERT's final norm."""
    pooler_is_norm: ClassVar[bool] = False
    """Whether `pooler` is a norm that every token passes, so that it stays below every head."""
    final_norm: ClassVar[str | None] = None
    """Such a norm below `pooler`, where a family has both; it counts as part of that."""

    head: ClassVar[tuple[str, ...]] = ("classifier",)
    """Every module of the classifier, outside the encoder; those that the checkpoint lacks are drawn anew."""
    logits: ClassVar[str] = "classifier"
    """The linear layer with an output per class, outside the encoder."""
    linear_head: ClassVar[bool] = True
    """Whether one linear layer is all of the head that has parameters."""

    linear: ClassVar[tuple[str, ...]] = ("query", "key", "value", "dense")
    """Last names of every linear layer of layers and pooler: what LoRA adapts."""
    attention: ClassVar[tuple[str, ...]] = ("attention",)
    """Parts of a layer that make up the attention block, with its output and its norm."""
    query_value: ClassVar[tuple[str, ...]] = ("query", "value")
    """Last names of the linear layers that make queries and values; of the fused one where a family has no others."""
    key_value: ClassVar[tuple[str, ...]] = ("key", "value")
    """Last names of the linear layers that make keys and values."""
    attention_output: ClassVar[str] = "attention.output.dense"
    """How the name of the attention block's last linear layer ends."""
    feed_forward_output: ClassVar[str] = "output.dense"
    """How the name of the feed-forward block's last linear layer ends; it may end the attention block's, too."""
    feed_forward_matrices: ClassVar[int] = 2
    """Matrices of hidden x intermediate size in a layer: two, or three where a gate is computed beside (GLU)."""
    layer_attributes: ClassVar[tuple[str, ...]] = ()
    """What the model reads off a layer, beside calling it."""
    between_layers: ClassVar[tuple[str, ...]] = ()
    """Modules that change the states between two layers, given what entered the lower one and what left it."""
    layers_return_tuples: ClassVar[bool] = False
    """Whether a layer returns its states as the first of a tuple."""
    trims_last_layer: ClassVar[bool] = False
    """Whether the top layer can be made to compute the first token alone: a layer is `attention.self`, `attention.output`,
    `intermediate` and `output`, and computes with them what BERT's does."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """What every model of the family has instead of what its `config.json` says."""
    dropouts: ClassVar[tuple[str, ...]] = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    """Names in `config.json` of the dropout probabilities: of hidden states, of attention, of the classifier."""
    intermediate_size: ClassVar[str] = "intermediate_size"
    """Name in `config.json` of the width of the feed-forward block."""
    counts_positions_from_padding: ClassVar[bool] = False
    """Whether the first token has position `pad_token_id + 1`, so that the table holds fewer usable positions than rows."""
    refused: ClassVar[Mapping[str, str]] = {}
    """Strategy -> why it cannot work on this family, as in "prefix cannot work on albert: REASON." What follows from a
    config, such as layers without biases, strategies find themselves."""

    @property
    def note(self) -> str:
        """What a user should know of it, as a clause; empty where there is nothing to say."""
        return ""

    def max_positions(self, config: Any) -> int:
        """Tokens that the positions reach, special tokens included."""
        rows = int(config.max_position_embeddings)
        return rows - (config.pad_token_id or 0) - 1 if self.counts_positions_from_padding else rows

    def layer_sets(self, config: Any) -> int:
        """Sets of weights that the layers have; fewer than layers where these share them."""
        return int(config.num_hidden_layers)

    def has_biases(self, config: Any) -> bool:
        """Whether embeddings, layers and pooler have biases."""
        return True

    def layer_weights(self, config: Any) -> int:
        """Weights of the linear layers of one layer."""
        size, heads = int(config.hidden_size), int(config.num_attention_heads)
        keys_and_values = 2 * size * getattr(config, "num_key_value_heads", heads) // heads
        return size * (2 * size + keys_and_values + self.feed_forward_matrices * int(getattr(config, self.intermediate_size)))

    def relative_positions(self, config: Any) -> RelativePositions | None:
        """What attention computes of relative positions by matrix products, so that it is counted; None where it does not."""
        return None

    def reads_first_token(self, config: Any) -> bool:
        """Whether the family's own head reads the first token's state alone."""
        return True

    def unused(self, config: Any) -> tuple[str, ...]:
        """Names of modules, wherever they stand, that nothing trains: no text uses them, or they hold constants."""
        return ()

    def classifies_tokens(self, config: Any) -> bool:
        """Whether the family's own head computes logits of every token, of which it takes the mean."""
        return False

    def why_unsupported(self, config: Any) -> str | None:
        """Why a model of the family cannot be used, as in "config.json: REASON."; None where it can."""
        return None

    def repair(self, model: Any) -> None:
        """Change what of transformers' classification model, just loaded, would fail in use; by default nothing."""


def list_model_types() -> list[str]:
    """Every `model_type` that is supported, sorted; imports the families' files, and neither torch nor transformers."""
    return sorted(name for name, family in _by_model_type(tuple(FAMILIES.names())).items() if not family.unsupported)


def list_unsupported() -> dict[str, str]:
    """Model types of which it is known why they cannot be used, sorted, with the reason."""
    described = sorted(_by_model_type(tuple(FAMILIES.names())).items())
    return {name: family.unsupported for name, family in described if family.unsupported}


def find_family(model_type: object) -> Family | None:
    """The family of that `model_type`, supported or not; None if no family describes it.

    Raises:
        PluginError: Two families describe one model type; a mistake of whoever wrote the later one.
    """
    return _by_model_type(tuple(FAMILIES.names())).get(model_type) if isinstance(model_type, str) else None


def find_native(remote_class: str) -> str | None:
    """The checkpoint to take in the place of one with code of its own; None if no family names one."""
    families = _by_model_type(tuple(FAMILIES.names())).values()
    return next((family.native_of[remote_class] for family in families if remote_class in family.native_of), None)


@functools.cache
def _by_model_type(names: tuple[str, ...]) -> dict[str, Family]:
    """The families of these names; looked for once, for an encoder is described again and again."""
    described: dict[str, Family] = {}
    for name in names:
        family = FAMILIES.only_class(name, Family)()
        for model_type in family.model_types:
            if model_type in described:
                other = type(described[model_type]).__module__
                raise PluginError(f"{type(family).__module__} and {other} both describe {model_type}.")
            described[model_type] = family
    return described
