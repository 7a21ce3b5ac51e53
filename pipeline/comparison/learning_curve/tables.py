"""The learning curve and its forecasts as CSV files: what other programs read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.comparison.learning_curve.curve import LearningCurve, members_of
from pipeline.evaluation.metric import Metric
from pipeline.evaluation.statistics.intervals import Interval, estimate
from pipeline.tracking.run_options import count_of, say_option
from pipeline.tracking.runs import Run


def tabulate_curve(curve: LearningCurve, runs: Sequence[Run]) -> pd.DataFrame:
    """`learning_curve.csv`: a row per row of the tables and size; docs/reference/runs.md explains the columns."""
    metric, rows = curve.metric, []
    for name in curve.names:
        for size, row, line in curve.points(name):
            members = members_of(size, name, runs)
            validation, score = _validation_score(members, metric), row.score
            rows.append(
                {
                    "row": name,
                    "strategy": line["strategy"],
                    "entry": line["entry"],
                    "model": line.get("model", members[0].params.get("model", "")),
                    "arguments": line["arguments"],
                    "learning_rate": line["learning_rate"],
                    "train_size": size.label,
                    "train_texts": size.texts,
                    "validation_texts": _validation_texts(members[0]) or "",
                    "metric": metric.name,
                    "validation_score": validation.value,
                    "validation_low": validation.low,
                    "validation_high": validation.high,
                    "test_score": float(line[metric.name]),
                    "test_low": score.low if score else math.nan,
                    "test_high": score.high if score else math.nan,
                    "test_std": line.get(f"{metric.name}_std", math.nan),
                    "seeds": line["seeds"],
                    "learned": row.learned,
                    "group": row.group + row.group_mark,
                    "train_seconds": line.get("train_seconds", math.nan),
                    "cache_seconds": line.get("cache_seconds", math.nan),
                    "epochs": say_option(members[0], "epochs"),
                    "steps": _steps(members),
                    "tuned": line["tuned"],
                    "run_ids": line["run_ids"],
                }
            )
    return pd.DataFrame(rows)


def _steps(runs: Sequence[Run]) -> float | str:
    """Optimizer steps, a mean over the seeds; of a baseline there are none."""
    taken = [
        run.metrics["train/steps_per_epoch"] * epochs
        for run in runs
        if "train/steps_per_epoch" in run.metrics and (epochs := count_of(run, "epochs"))
    ]
    return sum(taken) / len(taken) if taken else ""


def _validation_texts(run: Run) -> int:
    return int(run.metrics.get("data/validation_examples", 0))


def _validation_score(runs: Sequence[Run], metric: Metric) -> Interval:
    """The mean over seeds of the kept checkpoints' validation scores, with an interval over seeds, subsets and texts.

    Validation predictions are not kept. So the variance that the texts give is that of a share of so many texts, the same
    ones for all seeds; of what is no share the interval is over seeds alone. A checkpoint was chosen by these texts.
    """
    scores = np.array([run.metrics.get(f"val/{metric.name}", math.nan) for run in runs])
    texts = min(map(_validation_texts, runs))
    if np.isnan(scores).any():
        return Interval(math.nan, math.nan, math.nan)
    mean, is_share = float(scores.mean()), (metric.lowest, metric.highest) == (0.0, 1.0)
    if (not is_share and len(scores) < 2) or (is_share and not texts):
        return Interval(mean, math.nan, math.nan)
    of_texts = mean * (1 - mean) / texts if is_share else 0.0
    found = estimate(scores, np.full((len(scores), len(scores)), of_texts), [np.eye(len(scores))])
    return found.interval(metric.lowest, metric.highest)


def tabulate_forecasts(curve: LearningCurve) -> pd.DataFrame:
    """`learning_curve_forecast.csv`: a row per strategy, with the check of its forecast."""

    def bounds(name: str, interval: Interval | None) -> dict[str, float]:
        values = (interval.value, interval.low, interval.high) if interval else (math.nan,) * 3
        return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))

    return pd.DataFrame(
        [
            {
                "row": found.name,
                "metric": curve.metric.name,
                "texts": found.size,
                **bounds("forecast", found.score),
                **bounds("gain", found.gain),
                "checked_from_sizes_up_to": found.checked_to or "",
                "checked_at": curve.sizes[-1].texts if found.checked else "",
                **bounds("checked_forecast", found.checked),
                **bounds("measured", found.measured),
                "error": math.nan if found.error is None else found.error,
                "no_forecast": found.why_not,
            }
            for found in curve.forecasts
        ]
    )
