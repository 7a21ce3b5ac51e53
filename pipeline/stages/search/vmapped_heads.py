"""Train the points of one search, one run each; heads on a frozen encoder all at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import config as configs
from pipeline.errors import TrainingError
from pipeline.stages import train
from pipeline.stages.configure import resolve_strategy
from pipeline.tracking import open_tracker
from pipeline.tracking.runs import Tracker
from pipeline.training.checkpoints import load_trained_state
from pipeline.training.plan import Callback, FitPlan, FitResult
from pipeline.training.precision import choose_precision
from pipeline.training.saved_model import build_model
from pipeline.training.setup import EncoderInputs, find_inputs
from pipeline.training.vmapped_heads import HeadFit, differ_in_optimization_only, fit_heads, trains_head_alone


def trains_together(points: Sequence[configs.TrainConfig]) -> bool:
    """Whether `train_heads_together` serves these points: several heads on one frozen encoder that differ in optimization only.

    Derived from what trains, not from the strategy's name; for that the model is built.

    Raises:
        InputError: Model, data or strategy cannot be used.
    """
    if len(points) < 2 or not differ_in_optimization_only(points):
        return False
    inputs = find_inputs(resolve_strategy(points[0]))
    if not isinstance(inputs, EncoderInputs) or not inputs.objective.trains_heads_together:
        return False
    context = inputs.context()
    built = build_model(inputs.address, inputs.strategy, context, inputs.objective, 0, 0)
    precision = choose_precision(points[0].precision)
    return trains_head_alone(built.parameters, context.encoder, inputs.strategy, precision)


def train_heads_together(
    points: Sequence[configs.TrainConfig],
    tracker: Tracker | None = None,
    parent_id: str | None = None,
    tags: Sequence[Mapping[str, str]] | None = None,
    model_folders: Sequence[Path] | None = None,
) -> list[train.TrainResult | TrainingError]:
    """Train points for which `trains_together` holds; each has a run as `train.run` makes it, in their order.

    The first run trains all of them, the others record what came out. Of the shared seconds `cost/train_seconds` holds a
    point's share; `cost/grid_seconds` says what all took together, evaluation and the frozen layers' states included, and
    `cost/grid_points` how many they were. Peak memory is that of the process that trained all. `cost/wall_seconds` is each
    run's own, the shared training in the first's.

    Args:
        parent_id: The run below which the runs are nested.
        tags: For each point, set on its run beside, or instead of, the usual ones.
        model_folders: For each point, where its model goes instead of onto the run.

    Returns:
        For each point its result, or why it failed, which does not stop the others.

    Raises:
        InputError: A mistake of input; no run was made.
    """
    precision = choose_precision(points[0].precision)  # once, for all
    points = [dataclasses.replace(point, precision=precision) for point in points]
    tracker = tracker or open_tracker()
    together = _Together(points)
    outcomes: list[train.TrainResult | TrainingError] = []
    for position, point in enumerate(points):
        together.position = position
        try:
            result = train.run(
                point,
                tracker,
                parent_id,
                tags[position] if tags else None,
                model_folders[position] if model_folders else None,
                fit_with=together.fit,
            )
        except TrainingError as error:
            together.forget_if_first()
            outcomes.append(error)
            continue
        metrics = tracker.get(result.run_id).metrics
        together.peaks = {name: value for name, value in metrics.items() if name.startswith("cost/peak_")}
        outcomes.append(result)
    return outcomes


class _Together:
    """Trains all points when the first of them is asked for, and knows the others' results then."""

    def __init__(self, points: Sequence[configs.TrainConfig]) -> None:
        self.position = 0
        self.peaks: dict[str, float] = {}
        """Of the process, as the run that trained measured them."""
        self._points = points
        self._fits: dict[int, HeadFit] = {}
        self._figures: dict[str, float] = {}

    def fit(self, plan: FitPlan, callback: Callback) -> FitResult:
        """The result of the point whose turn it is, with its weights in `plan.model`.

        Raises:
            TrainingError: Its loss became NaN or infinite.
        """
        if self.position not in self._fits:
            waiting = range(self.position, len(self._points))
            began = time.perf_counter()
            fits = fit_heads(plan, [self._points[position] for position in waiting], callback)
            self._fits = dict(zip(waiting, fits, strict=True))
            self._figures = {"cost/grid_seconds": time.perf_counter() - began, "cost/grid_points": len(waiting)}
        own = self._fits[self.position]
        for step, metrics in own.history:
            callback.on_log(step, metrics)
        if own.result is None:
            raise own.error or TrainingError("The training failed.")
        load_trained_state(plan.model, plan.parameters, own.weights)
        return dataclasses.replace(own.result, figures={**self._figures, **self.peaks})

    def forget_if_first(self) -> None:
        """A run that failed has measured no memory for the others: where it was to, the next one trains again what is left."""
        if not self.peaks:
            self._fits = {}
