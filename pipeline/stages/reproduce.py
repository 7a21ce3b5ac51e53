"""Make a trained run again from its record alone, and hold the outcomes against each other."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import config as configs
from pipeline.comparison.reproduction import Reproduction, Trained, compare_trainings, explain
from pipeline.comparison.rows import has_test_result
from pipeline.errors import ConfigError, PipelineError, RunError, TrainingError
from pipeline.evaluation.metric_names import CLASS_METRICS, SCORE_METRICS
from pipeline.stages import evaluate, train
from pipeline.stages.heads_together import train_heads_together
from pipeline.stages.inputs import find_inputs
from pipeline.stages.origin import origin_tags
from pipeline.stages.progress import say
from pipeline.stages.record import check_base, check_data, check_finished, fetch_model, read_config
from pipeline.tracking import open_tracker
from pipeline.tracking.runs import Run, RunStore, Tracker, closing
from pipeline.training.model_folder import read_weights
from pipeline.training.precision import PRECISIONS

_SCORES = tuple(f"{split}/{name}" for split in ("val", "test") for name in (*CLASS_METRICS, *SCORE_METRICS))
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
                    "reproduces": original.run_id,
                }
            )
            trained = _train(original, again, tracker, logger.run_id)
            if has_test_result(original):
                tested = configs.EvaluateConfig(run_id=trained.run_id, cache_dir=config.cache_dir)
                evaluate.run(tested, tracker, logger.run_id)
            made = tracker.get(trained.run_id)
            found = compare_trainings(_read_outcome(tracker, original), _read_outcome(tracker, made), config.tolerance)
            reasons = explain(then, _read_environment(tracker, made))
            logger.set_tags({"reproduction": found.outcome})
            logger.log_metrics({"reproduce/largest_score_difference": _finite(found.largest_score)})
            record = {**found.as_record(), "reasons": reasons}
            logger.log_text(json.dumps(record, indent=1, allow_nan=False), "reproduction.json")
            message = f"{original.name} (run {original.run_id}) made again as run {trained.run_id}: {found.describe()}."
            say(message)
            for line in reasons:
                say(f"  {line}")
            if found.outcome == "different":
                why = "; ".join(reasons) or "nothing in the records: training is not deterministic on this machine"
                raise PipelineError(f"{message} What differs: {why}.")
    return ReproduceResult(logger.run_id, trained.run_id, found, tuple(reasons))


def _train(original: Run, again: configs.TrainConfig, tracker: Tracker, parent_id: str) -> train.TrainResult:
    """As it was trained then: by itself, or as one of several heads, which on a GPU draws other dropout masks.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    tags = {"reproduces": original.run_id}
    if "cost/grid_points" not in original.metrics:
        return train.run(again, tracker, parent_id, tags)
    [outcome] = train_heads_together([again], tracker, parent_id, [tags])
    if isinstance(outcome, TrainingError):
        raise outcome
    return outcome


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
    if "pruned_at" in original.tags:
        raise RunError(
            f"--run-id {original.run_id}: its search ended it early, after step {original.tags['pruned_at']}, because of how "
            f"the other trials did, which its record does not hold. {way_out}"
        )
    if not store.model_bytes(original.run_id):
        raise RunError(f"--run-id {original.run_id}: holds no model, so there is nothing to compare weights with. {way_out}")


def _config(tracker: Tracker, original: Run, cache_dir: str) -> configs.TrainConfig:
    """The recorded configuration, in the precision that `auto` meant then."""
    recorded = read_config(tracker, original, cache_dir)
    used = original.params.get("compute_dtype")
    return dataclasses.replace(recorded, precision=PRECISIONS[used]) if used else recorded


def _read_environment(store: RunStore, original: Run) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        text = store.download(original.run_id, "environment.json", Path(scratch)).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _read_outcome(store: RunStore, trained: Run) -> Trained:
    by_step = [name for name in trained.metrics if name.startswith(("train/", "val/"))]
    tested = {name: [(0, value)] for name, value in trained.metrics.items() if name.startswith("test/")}
    scores = {name: trained.metrics[name] for name in _SCORES if name in trained.metrics}
    with tempfile.TemporaryDirectory() as scratch:
        weights = read_weights(fetch_model(store, trained, Path(scratch) / "model"))
        predictions: list[str] = []
        if has_test_result(trained):
            file = store.download(trained.run_id, "predictions.csv", Path(scratch))
            predictions = pd.read_csv(file, usecols=["pred"], dtype=str, keep_default_na=False)["pred"].tolist()
    history = tested | {name: store.history(trained.run_id, name) for name in by_step}
    return Trained(history, scores, weights, predictions)


def _finite(value: float) -> float:
    """Stores take no infinite numbers everywhere."""
    return min(value, 1e9)


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
