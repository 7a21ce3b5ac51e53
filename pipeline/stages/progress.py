"""What a running stage prints: a bar on a terminal, plain lines elsewhere, and the next command to type."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.stage import flag
from pipeline.errors import StoreError, printable
from pipeline.evaluation.metric import Metric, list_metrics
from pipeline.evaluation.metrics.macro import RECALL
from pipeline.evaluation.statistics.chance import SWAPPED, is_far_below_chance
from pipeline.tracking.runs import RunLogger, Tracker
from pipeline.tracking.tags import Tag

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SECONDS_BETWEEN_LINES = 10.0
WAY_OUT = "--model-labels names the data's classes in the order of the outputs of --model."


_LABEL = "FAIRTUNE_LINE_LABEL"
"""Environment variable, so that processes that this one starts have it, too."""


def say(line: str) -> None:
    """A line for whoever watches; results go to standard output. Names and texts of users in it give the terminal no orders."""
    label = os.environ.get(_LABEL)
    print(printable(f"[{label}] {line.strip()}" if label else line), flush=True)  # noqa: T201


def label_lines(label: str) -> None:
    """From now on, begin each line of this process so, and show no bar: other processes write to the same terminal."""
    os.environ[_LABEL] = label


def relabel_lines(label: str) -> None:
    """The same with another label, where lines begin with one."""
    if _LABEL in os.environ:
        label_lines(label)


def describe_scores(scores: Mapping[str, float]) -> str:
    """The prominent metrics that were measured, by their labels."""
    shown = (metric for metric in list_metrics() if metric.is_prominent and metric.name in scores)
    return ", ".join(f"{metric.label} {metric.form.format(scores[metric.name])}" for metric in shown)


def say_scores(scores: Mapping[str, float], metrics: Sequence[Metric]) -> str:
    """Those of the metrics that were measured, by their names as the store has them."""
    shown = (metric for metric in metrics if metric.name in scores)
    return ", ".join(f"{metric.name.replace('_', ' ')} {metric.form.format(scores[metric.name])}" for metric in shown)


def count_classes(labels: NDArray[Any], classes: Sequence[str]) -> list[int]:
    """How many of the labels, indices of classes, are of each class; empty where labels are scores, or sets of labels."""
    import numpy as np

    if labels.ndim > 1 or labels.dtype == object:
        return []
    counts: list[int] = np.bincount(labels.astype(np.int64), minlength=len(classes)).tolist() if classes else []
    return counts


class TrainingObserver:
    """Hands what training reports to the run, and shows it."""

    def __init__(
        self,
        logger: RunLogger,
        title: str,
        already_logged: frozenset[tuple[str, int]] = frozenset(),
        stop_rule: Callable[[int, Mapping[str, float]], bool] | None = None,
        class_counts: Sequence[int] = (),
    ) -> None:
        """Watch one training.

        Args:
            already_logged: (metric, step) that the run holds from before it was interrupted.
            stop_rule: Asked after each evaluation whether to end, with step and validation metrics by their bare names.
            class_counts: Validation examples of each class; empty where labels are scores.
        """
        self._stop_rule, self._stops, self._ends = stop_rule, False, False
        self._class_counts, self._remarked = class_counts, False
        self._logger, self._outbox = logger, logger.open_outbox()
        self._title = title
        self._already_logged = already_logged
        self._last_line = time.monotonic()
        self._loss = float("nan")
        self.last_scores: dict[str, float] = {}
        """Validation metrics of the newest evaluation by their bare names; empty before the first."""
        self._bar: Any = None
        self._on_terminal = sys.stderr.isatty() and _LABEL not in os.environ

    def on_step(self, step: int, total_steps: int) -> None:
        """Move the bar, or say a line every some seconds."""
        self._ends = step == total_steps
        if self._on_terminal:
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=total_steps, initial=step - 1, desc=printable(self._title), unit="step", leave=False)
            self._bar.update(step - self._bar.n)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            loss = "" if math.isnan(self._loss) else f", loss {self._loss:.4f}"
            say(f"  {self._title}: step {step}/{total_steps}{loss}")
            self._last_line = time.monotonic()

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record, and show evaluations."""
        fresh = {name: value for name, value in metrics.items() if (name, step) not in self._already_logged}
        if fresh:
            self._outbox.log_metrics(fresh, step)
        self._loss = metrics.get("train/loss", self._loss)
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{self._loss:.4f}")
        if "val/loss" in metrics:
            scores = self.last_scores = {name.removeprefix("val/"): value for name, value in metrics.items()}
            say(f"  {self._title}: step {step}, validation {describe_scores(scores)}, loss {scores['loss']:.4f}")
            self._last_line = time.monotonic()
            self._remark(step, scores)
            self._ask_stop_rule(step, scores)

    def on_cache_progress(self, examples: int, total: int) -> None:
        """Say a line every some seconds."""
        if time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            say(f"  {self._title}: frozen layers, once for all epochs: {examples:,} of {total:,} inputs")
            self._last_line = time.monotonic()

    def should_stop(self) -> bool:
        """Whether the stop rule has said so; else whoever watches ends a run by interrupting it."""
        return self._stops

    def check(self) -> None:
        """Hold that the store was not away for too long.

        Raises:
            StoreAwayError: It was.
        """
        self._outbox.check()

    def settle(self) -> None:
        """Wait until the run holds all that was reported.

        Raises:
            StoreAwayError: The store stayed away.
        """
        self._outbox.close()

    def close(self) -> None:
        """Take the bar away, and deliver once more what the run does not hold yet."""
        with contextlib.suppress(StoreError):
            self._outbox.deliver()
        if self._bar is not None:
            self._bar.close()

    def _remark(self, step: int, scores: Mapping[str, float]) -> None:
        """Say once what a score says of the model rather than of the training."""
        if not self._remarked and is_far_below_chance(scores.get(RECALL.name, 1.0), self._class_counts):
            self._remarked = True
            say(f"  {self._title}: the validation scores of step {step} are {SWAPPED}. {WAY_OUT}")

    def _ask_stop_rule(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._stop_rule is None or self._stops or self._ends:  # what has trained to its end cannot be ended early
            return
        if self._stop_rule(step, metrics):
            self._stops = True
            self._logger.set_tags({Tag.PRUNED_AT: str(step)})
            say(f"  {self._title}: ended after step {step}, not among the better half of the trials")


_SOURCE, _ENVIRONMENT = "mlflow.source.name", "mlflow.project.env"
_DEFAULT_EXPERIMENT = "0"


def next_command(stage: str, tracker: Tracker, **options: str) -> str:
    """`python -m pipeline evaluate --run-id ...`, or through `mlflow run` where that has started this stage.

    What `mlflow run` starts works in the project's folder and in an environment of MLflow's choice, while the user may be in
    another folder, which has the store, and have nothing of the project installed.
    """
    given = tracker.assigned_run_id()
    if given is None:
        return shlex.join(["python", "-m", "pipeline", stage, *_typed(options)])
    tags = tracker.get(given).tags
    words = ["mlflow", "run", _project(tags.get(_SOURCE, ""), tracker), "-e", stage]
    for name, value in options.items():
        words += ["-P", f"{name}={value}"]
    environment = tags.get(_ENVIRONMENT, "local")  # MLflow notes the environments that it makes
    if environment != "conda":  # which it takes by itself
        words += ["--env-manager", environment]
    experiment = os.environ.get("MLFLOW_EXPERIMENT_ID", _DEFAULT_EXPERIMENT)
    if experiment != _DEFAULT_EXPERIMENT:
        words += ["--experiment-id", experiment]
    return shlex.join(words)


def _typed(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (flag(name), value)]


def _project(source: str, tracker: Tracker) -> str:
    """How the project is named: by its folder, or where MLflow fetched it into a temporary one, by its address."""
    if "://" in source and not source.startswith("file:"):
        return source
    return "." if tracker.is_of_folder() else str(Path.cwd())
