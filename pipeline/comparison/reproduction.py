"""Whether a training that was made again came out the same, and if not, what may explain it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["equal", "equal within tolerance", "different"]
History = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    history: History
    """Metric -> (step, value) of everything that was logged: losses, rates, validation and test metrics."""
    scores: Mapping[str, float]
    """Validation and test scores of the selected checkpoint: shares or correlations, which one tolerance can be meant for."""
    weights: Mapping[str, NDArray[Any]]
    """Everything that training made, by name."""
    predictions: Sequence[str] = ()
    """Predicted class of every test text, where there was a test."""


@dataclass(frozen=True)
class Reproduction:
    """How two trainings of the same configuration compare."""

    outcome: Outcome
    largest_by_metric: Mapping[str, float]
    """Metric -> largest absolute difference at any step; infinite where one of them lacks the metric or a step."""
    largest_score: float
    """Largest absolute difference of a validation or test score."""
    largest_weight: float
    """Largest absolute difference of a weight."""
    other_predictions: int
    """Test texts for which another class was predicted."""

    def describe(self) -> str:
        """One sentence."""
        if self.outcome == "equal":
            return "equal: weights, losses by step, scores and predictions are the same to the last bit"
        first = max(self.largest_by_metric, key=lambda name: self.largest_by_metric[name], default="")
        by_step = f", {first} {_by_up_to(self.largest_by_metric[first])}" if first else ""
        return (
            f"{self.outcome}: scores differ by up to {self.largest_score:.4f}{by_step}, weights by up to "
            f"{self.largest_weight:.2g}, {self.other_predictions} test texts are judged otherwise"
        )

    def as_record(self) -> dict[str, Any]:
        """Ready for JSON, which has no infinite numbers: None stands for them."""
        found: dict[str, Any] = _finite(asdict(self))
        return found


def _by_up_to(difference: float) -> str:
    return f"by up to {difference:.2g}" if math.isfinite(difference) else "not logged at the same steps by both, or no number"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare_trainings(then: Trained, now: Trained, tolerance: float) -> Reproduction:
    """Hold one training against another.

    Args:
        tolerance: Scores that differ by no more are equal within tolerance.
    """
    by_metric = {
        name: _largest_by_step(then.history.get(name, ()), now.history.get(name, ()))
        for name in sorted({*then.history, *now.history})
    }
    score = max((_difference(then.scores.get(name), now.scores.get(name)) for name in {*then.scores, *now.scores}), default=0.0)
    weight = _largest_weight(then.weights, now.weights)
    others = sum(a != b for a, b in zip(then.predictions, now.predictions, strict=False))
    others += abs(len(then.predictions) - len(now.predictions))
    exact = not (others or score or weight or any(by_metric.values()))
    outcome: Outcome = "equal" if exact else "equal within tolerance" if score <= tolerance else "different"
    return Reproduction(outcome, by_metric, score, weight, others)


def explain(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two records of `environment()`: versions, hardware, code."""
    return [f"{name}: {old} then, {new} now" for name, old, new in _changes(then, now) if name != "command"]


def _changes(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*then, *now}):
        old, new = then.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{name} " if name == "hardware" else "")
        elif old != new:
            yield f"{prefix}{name}", old, new


def _largest_by_step(then: Sequence[tuple[int, float]], now: Sequence[tuple[int, float]]) -> float:
    old, new = dict(then), dict(now)
    return max((_difference(old.get(step), new.get(step)) for step in {*old, *new}), default=0.0)


def _largest_weight(then: Mapping[str, NDArray[Any]], now: Mapping[str, NDArray[Any]]) -> float:
    if then.keys() != now.keys() or any(then[name].shape != now[name].shape for name in then):
        return math.inf
    return max((float(np.abs(then[name] - now[name]).max(initial=0.0)) for name in then), default=0.0)


def _difference(old: float | None, new: float | None) -> float:
    """Infinite where one is missing; two that are no numbers are the same."""
    if old is None or new is None:
        return math.inf
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    difference = abs(old - new)
    return math.inf if math.isnan(difference) else difference
