"""With what budget the hyperparameters of compared runs were searched. Rows of different budgets are not ranked."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.tracking.runs import Run

UNTUNED = "untuned"


def budget_of(run: Run) -> str:
    """What the search behind a run was allowed to spend; `untuned` without one."""
    trials = run.tags.get("tuned_trials")
    return run.tags.get("tuning_budget") or (f"{trials} trials" if trials else UNTUNED)


def describe_tuning(run: Run) -> str:
    """The budget, and the seconds of training that the search spent of it or with it."""
    seconds = run.tags.get("budget/train_seconds")
    return f"{budget_of(run)} ({float(seconds):,.0f} s)" if seconds else budget_of(run)


def list_budgets(runs: Iterable[Run]) -> list[str]:
    """The budgets that runs of ours were tuned with, each once. Of models from elsewhere nobody knows."""
    return list(dict.fromkeys(budget_of(run) for run in runs if run.stage != "evaluate"))
