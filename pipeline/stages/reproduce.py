"""The stage `reproduce`: train a run again from its record, and compare the outcome with the original."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import config as configs
from pipeline.csv_text import unguard
from pipeline.errors import ConfigError, PipelineError, RunError, TrainingError
from pipeline.evaluation.metric import list_metrics
from pipeline.json_text import parse_json
from pipeline.stages import evaluate, train
from pipeline.stages.progress import say
from pipeline.stages.run_record import check_base, check_data, check_finished, fetch_model, origin_tags, read_config
from pipeline.stages.search.vmapped_heads import train_heads_together
from pipeline.tracking import open_tracker
from pipeline.tracking.run_kinds import has_test_result
from pipeline.tracking.runs import Run, RunStore, Tracker, closing
from pipeline.tracking.tags import Tag
from pipeline.training.precision import PRECISIONS
from pipeline.training.saved_model import read_weights
from pipeline.training.setup import find_inputs

Outcome = Literal["equal", "equal within tolerance", "different"]
History = Mapping[str, Sequence[tuple[int, float]]]

_BOUNDED = [metric.name for metric in list_metrics() if math.isfinite(metric.highest)]
_SCORES = tuple(f"{split}/{name}" for split in ("val", "test") for name in _BOUNDED)
"""What is held to the tolerance; losses, calibration, thresholds and counts are on other scales."""


@dataclass(frozen=True)
class ReproduceResult:
    """What came of making a run again."""

    run_id: str
    """The run that carries the comparison."""
    trained_run_id: str
    """The run that was trained anew, nested below it."""
    reproduction: Reproduction
    reasons: tuple[str, ...]
    """What differs between then and now: versions, hardware, code."""


def run(config: configs.ReproduceConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> ReproduceResult:
    """Train as the run's record says, on as many threads; test it where the run was tested; compare.

    Raises:
        InputError: There is no such run, or its data or base model are not what they were; nothing was trained.
        PipelineError: The outcome is another one. The comparison is on the run nevertheless.
    """
    if not config.run_id:
        raise ConfigError("reproduce needs --run-id: which trained run shall be made again?")
    tracker = tracker or open_tracker()
    original = tracker.get(config.run_id)
    check_finished(original)
    _check_repeatable(original, tracker)
    then, again = _read_environment(tracker, original), _config(tracker, original, config.cache_dir)
    with _threads(then["hardware"]["torch_threads"], again.num_processes):
        inputs = find_inputs(again)
        check_data(original, inputs.prepared)
        check_base(original, again.model, inputs.base_sha256)
        with closing(tracker.start(f"reproduce-{original.name}", parent_id)) as logger:
            logger.log_params({"run_id": original.run_id, "tolerance": config.tolerance})
            logger.set_tags(
                {
                    **origin_tags("reproduce", config, original.tags["data_fingerprint"]),
                    "strategy": original.tags["strategy"],
                    Tag.REPRODUCES: original.run_id,
                }
            )
            trained = _train(original, again, tracker, logger.run_id)
            if has_test_result(original):
                tested = configs.EvaluateConfig(run_id=trained.run_id, cache_dir=config.cache_dir, latency_seconds=0)
                evaluate.run(tested, tracker, logger.run_id)
            made = tracker.get(trained.run_id)
            reproduction = compare_trainings(_read_outcome(tracker, original), _read_outcome(tracker, made), config.tolerance)
            reasons = explain(then, _read_environment(tracker, made))
            logger.set_tags({Tag.REPRODUCTION: reproduction.outcome})
            logger.log_metrics({"reproduce/largest_score_difference": _storable(reproduction.largest_score)})
            record = {**reproduction.as_record(), "reasons": reasons}
            logger.log_text(json.dumps(record, indent=1, allow_nan=False), "reproduction.json")
            message = f"{original.name} (run {original.run_id}) made again as run {trained.run_id}: {reproduction.describe()}."
            say(message)
            for line in reasons:
                say(f"  {line}")
            if reproduction.outcome == "different":
                why = "; ".join(reasons) or "nothing in the records: training is not deterministic on this machine"
                raise PipelineError(f"{message} What differs: {why}.")
    return ReproduceResult(logger.run_id, trained.run_id, reproduction, tuple(reasons))


def _check_repeatable(original: Run, store: RunStore) -> None:
    """Hold that a run went to its end and that there is a model to compare with.

    Raises:
        RunError: It did not, or there is none.
    """
    way_out = (
        "Runs of train can be made again, and the best trial of a search (tag best_run_id of the search's run), while their "
        f"model is in the store. Give --run-id of one of these, or train the settings in config.json of run {original.run_id} "
        "with train first."
    )
    if Tag.PRUNED_AT in original.tags:
        raise RunError(
            f"--run-id {original.run_id}: its search ended it early, after step {original.tags[Tag.PRUNED_AT]}, because of how "
            f"the other trials did, which its record does not hold. {way_out}"
        )
    if not store.model_bytes(original.run_id):
        raise RunError(f"--run-id {original.run_id}: holds no model, so there is nothing to compare weights with. {way_out}")


def _read_environment(store: RunStore, original: Run) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        text = store.download(original.run_id, "environment.json", Path(scratch)).read_text(encoding="utf-8")
    environment: dict[str, Any] = parse_json(text)
    return environment


def _config(tracker: Tracker, original: Run, cache_dir: str) -> configs.TrainConfig:
    """The recorded configuration, in the precision that `auto` meant then."""
    recorded = read_config(tracker, original, cache_dir)
    used = original.params.get("compute_dtype")
    return dataclasses.replace(recorded, precision=PRECISIONS[used]) if used else recorded


@contextlib.contextmanager
def _threads(count: int, processes: int) -> Iterator[None]:
    """Compute with as many threads as then: sums of floating-point numbers depend on how they are divided.

    Args:
        count: Threads of each process.
        processes: So many share the threads that are set here (`run_processes`), whatever OMP_NUM_THREADS says now.
    """
    import torch

    before, said = torch.get_num_threads(), os.environ.pop("OMP_NUM_THREADS", None)
    torch.set_num_threads(count * processes)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.environ |= {} if said is None else {"OMP_NUM_THREADS": said}


def _train(original: Run, again: configs.TrainConfig, tracker: Tracker, parent_id: str) -> train.TrainResult:
    """As it was trained then: by itself, or as one of several heads, which on a GPU draws other dropout masks.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    tags: dict[str, str] = {Tag.REPRODUCES: original.run_id}
    if "cost/grid_points" not in original.metrics:
        return train.run(again, tracker, parent_id, tags)
    [outcome] = train_heads_together([again], tracker, parent_id, [tags])
    if isinstance(outcome, TrainingError):
        raise outcome
    return outcome


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


def _read_outcome(store: RunStore, trained: Run) -> Trained:
    by_step = [name for name in trained.metrics if name.startswith(("train/", "val/"))]
    tested = {name: [(0, value)] for name, value in trained.metrics.items() if name.startswith("test/")}
    scores = {name: trained.metrics[name] for name in _SCORES if name in trained.metrics}
    with tempfile.TemporaryDirectory() as scratch:
        weights = read_weights(fetch_model(store, trained, Path(scratch) / "model"))
        predictions: list[str] = []
        if has_test_result(trained):
            file = store.download(trained.run_id, "predictions.csv", Path(scratch))
            predictions = pd.read_csv(file, usecols=["pred"], dtype=str, keep_default_na=False)["pred"].map(unguard).tolist()
    history = tested | {name: store.history(trained.run_id, name) for name in by_step}
    return Trained(history, scores, weights, predictions)


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
        record: dict[str, Any] = _finite(asdict(self))
        return record


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
    # A score that only the new run has is of a metric that was none then; `by_metric` tells of it.
    score = max((_difference(then.scores[name], now.scores.get(name)) for name in then.scores), default=0.0)
    weight = _largest_weight(then.weights, now.weights)
    others = sum(a != b for a, b in zip(then.predictions, now.predictions, strict=False))
    others += abs(len(then.predictions) - len(now.predictions))
    exact = not (others or score or weight or any(by_metric.values()))
    outcome: Outcome = "equal" if exact else "equal within tolerance" if score <= tolerance else "different"
    return Reproduction(outcome, by_metric, score, weight, others)


def _largest_by_step(then: Sequence[tuple[int, float]], now: Sequence[tuple[int, float]]) -> float:
    old, new = dict(then), dict(now)
    return max((_difference(old.get(step), new.get(step)) for step in {*old, *new}), default=0.0)


def _difference(old: float | None, new: float | None) -> float:
    """Infinite where one is missing; two that are no numbers are the same."""
    if old is None or new is None:
        return math.inf
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    difference = abs(old - new)
    return math.inf if math.isnan(difference) else difference


def _largest_weight(then: Mapping[str, NDArray[Any]], now: Mapping[str, NDArray[Any]]) -> float:
    if then.keys() != now.keys() or any(then[name].shape != now[name].shape for name in then):
        return math.inf
    return max((float(np.abs(then[name] - now[name]).max(initial=0.0)) for name in then), default=0.0)


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


def _storable(value: float) -> float:
    """Stores take no infinite numbers everywhere."""
    return min(value, 1e9)
