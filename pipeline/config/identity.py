"""Which options decide what a run computes, and the hashes by which a configuration is known again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from pipeline.config import StageConfig
from pipeline.config.fields import as_dict, describe_fields
from pipeline.config.imbalance import ImbalanceConfig
from pipeline.hashing import digest

# What may differ between runs that count as repetitions of one another.
SEEDS = ("seed", "data_seed", "init_seed", "dropout_seed")

# Options that came later: where they are not used, a configuration is known by the same hash as before there were any.
_LATER = {
    "delimiter": None,
    "no_header": False,
    "acceleration": ("auto",),
    "models": (),
    "base_model": None,
    **as_dict(ImbalanceConfig()),
    "label_separator": None,
    "label_columns": (),
    "optimizer": "adamw",
    "lr_scheduler_type": "linear",
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": False,
    "auto_batch": False,
    "sheet": None,
    "annotators": None,
    "long_texts": "head",
    "window_overlap": 0.25,
    "ranking_metric": None,
    "train_size": None,
    "validation_size": "full",
    "epoch_size": None,
    "train_sizes": (),
    "hold": "steps",
    "fair": "no",
}


# What is None until the model's folder is read, and was that before.
_NOT_GIVEN = {"pooling": "mean"}


def identify(config: StageConfig) -> dict[str, Any]:
    """The options that decide what a run computes, ready for JSON."""
    left_out = operational_options(type(config))
    options = {name: _NOT_GIVEN.get(name) if value is None else value for name, value in as_dict(config).items()}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if name not in left_out and not (name in _LATER and value == _LATER[name])
    }


def settings_hash(config: StageConfig) -> str:
    """Equal for runs that differ in their seeds only, however their values were typed.

    Precision is left out: `auto` means another type on another machine, and the type that was used is logged by itself.
    """
    return digest({name: value for name, value in identify(config).items() if name not in (*SEEDS, "precision")})


def operational_options(cls: type[StageConfig]) -> frozenset[str]:
    """The options of a stage that say how it is carried out."""
    return frozenset(name for name, field in describe_fields(cls).items() if field.operational)


C = TypeVar("C", bound=StageConfig)


def without_encoder(config: C) -> C:
    """The configuration of a strategy that trains no encoder: equal whatever was said of the encoders beside it."""
    described = describe_fields(type(config))
    neutral: dict[str, Any] = {name: described[name].without_encoder for name in encoder_options(type(config))}
    return replace(config, **neutral)


def encoder_options(cls: type[StageConfig]) -> frozenset[str]:
    """The options of a stage that only the training of an encoder reads."""
    return frozenset(name for name, field in describe_fields(cls).items() if field.of_encoder)
