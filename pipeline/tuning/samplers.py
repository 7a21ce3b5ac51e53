"""Who proposes points to Optuna, and how values look there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.ranges import Choices, LogUniform, Range
from pipeline.tuning.space import Space

if TYPE_CHECKING:
    import optuna


def create_sampler(name: str, space: Space, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of `--sampler`. Draws of `random` and `grid` depend on the trial's number alone."""
    from optuna.samplers import TPESampler

    samplers: Mapping[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "random": lambda: _planned(lambda number: space.draw(number, seed)),
        "grid": lambda: _planned(space.point),
        "tpe": lambda: TPESampler(seed=seed),
    }
    return samplers[name]()


def to_label(value: Any) -> Any:
    """A value as Optuna can keep it: lists as JSON."""
    return value if isinstance(value, (str, int, float, bool)) or value is None else json.dumps(value)


def from_label(one: Range, label: Any) -> Any:
    """The value again; rates rounded as they are trained with."""
    if isinstance(one, Choices):
        return next(value for value in one.options if to_label(value) == label)
    return one.round(label) if isinstance(one, LogUniform) else label


def _planned(draw: Callable[[int], Mapping[str, Any]]) -> optuna.samplers.BaseSampler:
    """A sampler whose draws depend on the trial's number alone. Optuna's own begin their random numbers anew on resuming."""
    import optuna

    class Planned(optuna.samplers.BaseSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return to_label(draw(trial.number)[param_name])

    return Planned()
