"""Which runs may stand in one table, and why the others may not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.tracking.runs import Run

EXTERNAL = "external"
"""What stands as strategy of a model that was not trained here."""


@dataclass(frozen=True)
class Selection:
    """Runs that are compared, and a line about each that is not."""

    kept: tuple[Run, ...]
    left_out: tuple[str, ...]

    def file_names(self) -> dict[str, Run]:
        """A name that can serve as file name for each run: the strategy's, with arguments or id where it stands twice."""
        strategies = [run.tags["strategy"] for run in self.kept]
        named: dict[str, Run] = {}
        for run in self.kept:
            name = run.tags["strategy"]
            if strategies.count(name) > 1:
                name = f"{name}_{re.sub(r'[^A-Za-z0-9.]+', '_', describe_arguments(run)).strip('_')}".rstrip("_")
            named[f"{name}_{run.run_id[:8]}" if name in named else name] = run
        return named


def select_runs(candidates: Iterable[Run], named: bool = False) -> Selection:
    """Keep what finished, has a test result, and was tested on the same examples as the newest such run.

    Of runs that repeat the same configuration the newest is kept.

    Args:
        named: Whether somebody asked for just these runs; those of other stages are then named as left out, too.
    """
    candidates = list(candidates)
    kept: list[Run] = []
    left_out: list[str] = []
    seen: set[tuple[str, str]] = set()
    if named:
        left_out += [
            f"run {run.run_id}: made by {run.stage or 'another project'}, not by train"
            for run in candidates
            if not _is_result(run)
        ]
    comparable = [run for run in candidates if _is_result(run)]
    for run in sorted(comparable, key=lambda run: -run.start_time):
        label = f"{run.tags.get('strategy', run.name)} (run {run.run_id})"  # one that failed early may have no strategy yet
        if run.status != "FINISHED":
            detail = f": {run.tags['status_detail']}" if run.tags.get("status_detail") else ""
            left_out.append(f"{label}: status {run.status}{detail}")
        elif not has_test_result(run):
            left_out.append(f"{label}: no test result; run evaluate")
        elif kept and _test_set(run) != _test_set(kept[0]):
            here, there = (one.params.get("dataset", "?") for one in (kept[0], run))
            left_out.append(f"{label}: tested on other data than the newest run ({there}, not {here})")
        elif _configuration(run) in seen:
            left_out.append(f"{label}: a newer run repeats the same configuration")
        else:
            seen.add(_configuration(run))
            kept.append(run)
    return Selection(tuple(sorted(kept, key=lambda run: run.start_time)), tuple(left_out))


def has_test_result(run: Run) -> bool:
    """Whether `evaluate` has written its scores, of classes or of scores, onto the run."""
    return "test/f1_macro" in run.metrics or "test/spearman" in run.metrics


def describe_arguments(run: Run) -> str:
    """The strategy's arguments as they would be typed."""
    if run.tags["strategy"] == EXTERNAL:
        return f"model={run.params.get('model', '')}"
    arguments = json.loads(run.tags.get("strategy_args", "{}"))
    return ",".join(f"{name}={_typed_value(value)}" for name, value in arguments.items() if value not in ([], None))


def _typed_value(value: object) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def _is_result(run: Run) -> bool:
    """Trained here, a trial that was evaluated, or a model from elsewhere."""
    if run.stage == "trial":
        return has_test_result(run)
    return run.stage == "train" or (run.stage == "evaluate" and run.tags.get("strategy") == EXTERNAL)


def _configuration(run: Run) -> tuple[str, str]:
    return run.tags["config_hash"], run.tags.get("base_sha256", "")


def _test_set(run: Run) -> tuple[str, str | None, str | None]:
    limit = run.params.get("max_eval_samples")
    return run.tags["data_fingerprint"], limit, run.params.get("split_seed") if limit else None
