"""Search a grid for one strategy; the best trial by a validation metric wins."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import config as configs
from pipeline.errors import PipelineError
from pipeline.fields import as_dict
from pipeline.hashing import digest
from pipeline.recipes.recipe import load_recipe
from pipeline.stages import train
from pipeline.stages.advise import resolve_strategy
from pipeline.stages.children import Children
from pipeline.stages.configure import replace_options
from pipeline.stages.inputs import find_inputs, find_strategy
from pipeline.stages.progress import say
from pipeline.tracking import open_tracker
from pipeline.tracking.provenance import git_commit
from pipeline.tracking.runs import Tracker, close_unfinished, closing
from pipeline.training.model_folder import NAME
from pipeline.training.precision import choose_precision

# The SST-2 study's grid: what is searched where a recipe names none.
STUDY_SPACE: dict[str, list[Any]] = {
    "learning_rate": [2e-5, 3e-5, 5e-5],
    "batch_size": [16, 32, 64],
    "dropout": [0.1, 0.2],
    "epochs": [2, 3, 4],
}


@dataclass(frozen=True)
class TuneResult:
    """What a search found; `trials` counts those that finished."""

    run_id: str
    best_run_id: str
    best_config: configs.TrainConfig
    best_score: float
    trials: int


def draw_points(space: Mapping[str, Sequence[Any]], trials: int, seed: int) -> list[dict[str, Any]]:
    """`trials` different points of the grid in random order; all points if there are fewer.

    A longer search with the same seed begins with the points of a shorter one.
    """
    points = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    random.Random(seed).shuffle(points)
    return points[:trials]


def run(
    config: configs.TuneConfig,
    tracker: Tracker | None = None,
    parent_id: str | None = None,
    children: Children | None = None,
) -> TuneResult:
    """Train one trial per point as nested runs below one parent; only the best trial keeps its model.

    What was typed as an option stays as it is and is not searched.

    Raises:
        InputError: A point of the grid is not valid, or the inputs are not; no run was made.
        PipelineError: No trial finished.
    """
    config = dataclasses.replace(resolve_strategy(config), precision=choose_precision(config.precision))  # once, for all trials
    base = _train_config(config)
    full_space = load_recipe(config.recipe).space_for(config.title) or STUDY_SPACE
    space = {name: values for name, values in full_space.items() if name not in config.given}
    points = draw_points(space, config.trials, config.seed)
    candidates = [replace_options(base, point) for point in points]
    for candidate in candidates:
        find_strategy(candidate)
    find_inputs(base)
    tracker = tracker or open_tracker()
    children = children or Children()
    metric = config.metric_for_best_model
    with (
        closing(tracker.start(f"tune-{config.title}", parent_id)) as logger,
        tempfile.TemporaryDirectory() as scratch,
    ):
        logger.log_params({name: value for name, value in configs.identity(config).items() if name != "strategy_args"})
        logger.log_params(config.strategy_args)
        logger.set_tags(
            {
                "stage": "tune",
                "strategy": config.strategy,
                **({"entry": config.entry} if config.entry else {}),
                "recipe": config.recipe,
                "config_hash": digest(configs.identity(config)),
                "git_commit": git_commit(),
            }
        )
        logger.log_text(json.dumps(space, indent=1), "space.json")
        if len(points) < config.trials:
            say(f"The grid has {len(points)} points, fewer than --trials {config.trials}: all are run.")
        best: tuple[float, train.TrainResult, configs.TrainConfig] | None = None
        best_folder = Path(scratch) / NAME
        failures = []
        for number, (point, candidate) in enumerate(zip(points, candidates, strict=True), start=1):
            say(f"Trial {number}/{len(points)}: " + ", ".join(f"{name}={value}" for name, value in point.items()))
            folder = Path(scratch) / f"trial-{number}"
            try:
                result = children.call(
                    train.run,
                    candidate,
                    parent_id=logger.run_id,
                    tags={"stage": "trial", "trial": str(number)},
                    model_folder=folder,
                )
            except PipelineError as error:
                failures.append(f"trial {number}: {error}")
                close_unfinished(tracker, logger.run_id, str(error))
                say(f"  failed: {error}")
                continue
            value = result.validation[metric]
            logger.log_metrics({f"trials/val_{metric}": value}, step=number)
            if best is None or (value < best[0] if metric == "loss" else value > best[0]):
                best = (value, result, candidate)
                shutil.rmtree(best_folder, ignore_errors=True)
                folder.rename(best_folder)
            else:
                shutil.rmtree(folder)
        if best is None:
            raise PipelineError(f"No trial of {config.title} finished. " + "; ".join(failures))
        score, winner, winner_config = best
        tracker.amend(winner.run_id).log_model(best_folder)
        chosen = {
            name: value
            for point, c in zip(points, candidates, strict=True)
            if c is winner_config
            for name, value in point.items()
        }
        logger.log_params({f"best_{name}": value for name, value in chosen.items()})
        logger.set_tags({"best_run_id": winner.run_id, "failed_trials": str(len(failures))})
        logger.log_metrics({f"best/val_{metric}": score}, step=len(points))
    say(
        f"{config.title}: best of {len(points)} trials has validation {metric} {score:.4f} with "
        + ", ".join(f"{name}={value}" for name, value in chosen.items())
    )
    if parent_id is None:
        say(f"Run {winner.run_id}. Next: python -m pipeline evaluate --run-id {winner.run_id}")
    return TuneResult(logger.run_id, winner.run_id, winner_config, score, len(points) - len(failures))


def _train_config(config: configs.TuneConfig) -> configs.TrainConfig:
    return configs.TrainConfig(**{name: value for name, value in as_dict(config).items() if name not in ("trials", "given")})
