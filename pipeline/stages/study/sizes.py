"""The trainings of a study at each of several numbers of labelled texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from pipeline import config as configs
from pipeline.config.stage import flag
from pipeline.config.train_sizes import ALL
from pipeline.data.prepared import Manifest, prepare
from pipeline.data.subsets import check_size
from pipeline.errors import ConfigError, enumerate_some
from pipeline.training.baselines.inputs import TrainingInputs

_ONE_SIZE = ("train_size", "epoch_size")


def at_sizes(config: configs.MainConfig, plans: Sequence[configs.TrainConfig]) -> list[configs.TrainConfig]:
    """Every training at each of `--train-sizes`, the fewest texts first; as they are where none are given.

    At the largest size a training is the one that it would be in a study of that size alone.

    Raises:
        ConfigError: Sizes are given twice, are more than the data have, or too few for their classes.
        InputError: The data cannot be used.
    """
    if not config.train_sizes:
        if "hold" in config.explicit:
            raise ConfigError(f"--hold {config.hold}: says how trainings of several --train-sizes are held equal. Add these.")
        return list(plans)
    both = [name for name in _ONE_SIZE if any(getattr(plan, name) is not None for plan in plans)]
    if both:
        raise ConfigError(f"--train-sizes and {' and '.join(map(flag, both))} are both given. Give one of them.")
    manifest = prepare(config.dataset, config)[0].manifest
    there = min(manifest.rows["train"], config.max_train_samples or manifest.rows["train"])
    sizes = [None if size == ALL else int(size) for size in config.train_sizes]
    _check(config, [size or there for size in sizes], manifest, there)
    largest = sizes[-1]
    return [_at_size(plan, size, largest, largest or there, config.hold) for size in sizes for plan in plans]


def _check(config: configs.MainConfig, sizes: Sequence[int], manifest: Manifest, there: int) -> None:
    given = f"--train-sizes {','.join(config.train_sizes)}:"
    if twice := sorted({size for size in sizes if sizes.count(size) > 1}):
        same = f" (all are {there:,})" if ALL in config.train_sizes and twice == [there] else ""
        raise ConfigError(f"{given} {enumerate_some(list(map(str, twice)), 5)} is named twice{same}. Name each size once.")
    for size in (max(sizes), min(sizes)):
        check_size(f"{given} {size}", size, manifest, config.max_train_samples)


def _at_size(plan: configs.TrainConfig, size: int | None, largest: int | None, texts: int, hold: str) -> configs.TrainConfig:
    """A training at one size.

    Args:
        texts: How many the largest size has.
    """
    whole = size is None
    repeats = hold == "steps" and size != largest and plan.model
    return dataclasses.replace(
        plan,
        train_size=size,
        validation_size="full" if whole else plan.validation_size,
        epoch_size=texts if repeats else None,
    )


def describe_sizes(config: configs.MainConfig, strategies: Sequence[TrainingInputs]) -> Iterator[str]:
    """What is trained at which size, and what is held equal between sizes; nothing of a study of one size."""
    texts = dict.fromkeys(inputs.count("train") for inputs in strategies)
    if len(texts) < 2:
        return
    validation = dict.fromkeys(inputs.count("validation") for inputs in strategies)
    held = "each size trains for as many steps as the largest" if config.hold == "steps" else "each size has as many epochs"
    chosen_on = f"checkpoints are chosen on {' to '.join(f'{count:,}' for count in _ends(list(validation)))} validation texts"
    held += " (auto for as many as what it takes was measured with)" if "auto" in config.strategies else ""
    search = "; settings are searched at each size" if config.tune else ""
    yield (
        f"At {', '.join(f'{count:,}' for count in texts)} labelled texts, drawn anew for each seed and the same for all "
        f"strategies; {held}; {chosen_on}{search}."
    )


def _ends(counts: Sequence[int]) -> Sequence[int]:
    return counts if len(counts) == 1 else (min(counts), max(counts))
