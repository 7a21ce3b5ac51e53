"""What must be equal for rows to be ranked: the budget of their search for hyperparameters, and the data they learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.comparison.rows import budget_of, was_trained_here
from pipeline.tracking.runs import Run

_NAMED = 6  # of more rows only the number is said


def describe_tuning(run: Run) -> str:
    """The budget, and the seconds of training that the search spent of it or with it."""
    seconds = run.tags.get("budget/train_seconds")
    return f"{budget_of(run)} ({float(seconds):,.0f} s)" if seconds else budget_of(run)


def list_budgets(runs: Iterable[Run]) -> list[str]:
    """The budgets that runs of ours were tuned with, each once. Of models from elsewhere nobody knows."""
    return list(dict.fromkeys(budget_of(run) for run in _ours(runs)))


def is_fair(runs: Iterable[Run]) -> bool:
    """Whether the runs were tuned with the same budget and trained on the same examples."""
    runs = list(runs)
    return len(list_budgets(runs)) < 2 and len({_sample(run) for run in _ours(runs)}) < 2


def list_inequalities(rows: Mapping[str, Iterable[Run]]) -> list[str]:
    """In what rows, given by name, were not treated alike: a phrase each that follows "they were"."""
    budgets = list_budgets(run for runs in rows.values() for run in runs)
    found = [f"tuned with different budgets ({'; '.join(budgets)})"] if len(budgets) > 1 else []
    samples: dict[tuple[str, ...], dict[str, None]] = {}
    for name, runs in rows.items():
        for run in _ours(runs):
            samples.setdefault(_sample(run), {})[name] = None
    if len(samples) > 1:
        seeds = {seed for _, *more in samples for seed in more}
        listed = (f"{_say_sample(sample, len(seeds) > 1)} for {_say_rows(list(names))}" for sample, names in samples.items())
        found.append(f"trained on different data ({'; '.join(listed)})")
    return found


def _ours(runs: Iterable[Run]) -> Iterator[Run]:
    return filter(was_trained_here, runs)


def _sample(run: Run) -> tuple[str, ...]:
    """What decides which of the training examples, the same for all compared runs, a run was trained on."""
    limit = run.params.get("max_train_samples")
    used = run.metrics.get("data/train_examples")
    if used is not None and used == run.metrics.get("data/rows_train"):
        limit = None  # above what there is
    return (limit, run.params.get("split_seed", "")) if limit else ("",)


def _say_sample(sample: tuple[str, ...], with_seed: bool) -> str:
    limit, *seed = sample
    drawn = f" drawn with split seed {seed[0]}" if seed and with_seed else ""
    return f"at most {limit} examples{drawn}" if limit else "all examples"


def _say_rows(names: Sequence[str]) -> str:
    """Without commas between: some names have their own."""
    return " and ".join(names) if len(names) <= _NAMED else f"{len(names)} rows"
