"""Which model is registered: a run that was named, or the winner of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import config as configs
from pipeline.comparison.conclusions.caveats import find_verdict
from pipeline.comparison.ranking import choose_ranking, headline, refuse_unmeasured
from pipeline.comparison.row_names import label_rows
from pipeline.errors import ConfigError, RunError
from pipeline.evaluation.metric import Metric, lower_is_better, selecting
from pipeline.stages.compare import Comparison, gather
from pipeline.stages.run_record import check_finished
from pipeline.tracking.run_kinds import has_test_result, is_external, label_type_of, trains_no_encoder
from pipeline.tracking.runs import Run, RunStore

_ENDED = ("FINISHED", "FAILED")
"""A study of which a training failed has its table nevertheless."""


@dataclass(frozen=True)
class Choice:
    """A trained and tested run, and how it was chosen."""

    run: Run
    metric: Metric
    """By which it is held against the champion."""
    how: str
    """A sentence or two."""
    by_test: int = 0
    """Among how many rows of a study its test score chose it; 0 where somebody named the run."""


def choose(config: configs.RegisterConfig, store: RunStore) -> Choice:
    """The run to register.

    Raises:
        ConfigError: Options contradict each other.
        RunError: There is no such run or study, it is not finished or not tested, or the study has no winner.
    """
    if config.run_id and config.study:
        raise ConfigError("register takes either --run-id or --study, and got both. Give one.")
    if config.run_id and "winner" in config.explicit:
        raise ConfigError(f"--winner {config.winner}: is of a study's rows, and --run-id names a run. Leave one out.")
    if config.promote != "no_worse" and "margin" in config.explicit:
        raise ConfigError(f"--margin {config.margin}: goes with --promote no_worse. Add that, or leave it out.")
    if config.study == "all":
        raise ConfigError("--study all: is no study, and has no winner. Give the run id of one, or --run-id.")
    if config.run_id:
        run = store.get(config.run_id)
        check_finished(run)
        check_tested(run)
        metric = choose_ranking(label_type_of([run]), config.ranking_metric)
        refuse_unmeasured(metric, [run])
        return Choice(run, metric, "Whoever registered it named the run.")
    return _choose_of_study(config, store)


def check_tested(run: Run) -> None:
    """Hold that a run has a test result.

    Raises:
        RunError: It has none.
    """
    if not has_test_result(run):
        raise RunError(
            f"--run-id {run.run_id}: has no test result, so nothing can be said of it. Run "
            f"`python -m pipeline evaluate --run-id {run.run_id}` first."
        )


def _choose_of_study(config: configs.RegisterConfig, store: RunStore) -> Choice:
    found = gather(configs.CompareConfig(study=config.study, ranking_metric=config.ranking_metric), store)
    if found.study is None:
        raise RunError("There is no study with a trained run here. Run `main` first, or give --run-id.")
    study = f"--study {found.study.run_id}"
    if found.study.status not in _ENDED:
        raise RunError(
            f"{study}: did not finish, its status is {found.study.status}. Run the same main command again; it goes on where "
            "it stopped."
        )
    verdict = find_verdict(found.table, found.selection, found.statistics)
    if verdict.top is None or verdict.ahead:
        raise RunError(f"{study}: its verdict names no best row: {verdict.sentences[0]} Give --run-id.")
    candidates = [verdict.top, *verdict.tied]
    row = verdict.top if config.winner == "best" else min(candidates, key=lambda number: _trained(found, number))
    name = label_rows(found.table)[row]
    tied = (
        f", which may be the best as well as {len(verdict.tied)} other{'s' * (len(verdict.tied) > 1)}" if verdict.tied else ""
    )
    of_row = _runs_of(found, row)
    if is_external(of_row[0]):
        raise RunError(f"{study}: its winner, {name}, was trained elsewhere and is not kept here. Give --run-id.")
    run, of_seeds = _choose_seed(of_row)
    rows = len(found.table)
    metric = headline(found.table)
    which = (
        f"has the {metric.superlative} score"
        if row == verdict.top
        else "trains the fewest parameters of those that may be the best"
    )
    those = f"{rows} row{'s' * (rows > 1)} of the study {found.study.name} (run {found.study.run_id})"
    how = f"Of {those} {name} {which}{tied}.{of_seeds}"
    return Choice(run, metric, how, rows if rows > 1 else 0)


def _runs_of(found: Comparison, row: int) -> list[Run]:
    by_id = {run.run_id: run for run in found.selection.kept}
    return [by_id[run_id] for run_id in str(found.table["run_ids"].iloc[row]).split()]


def _trained(found: Comparison, row: int) -> tuple[float, int]:
    """How many parameters a row trains; a baseline none. Equal ones keep the order of the table."""
    return parameters_of(_runs_of(found, row)[0])[1], row


def parameters_of(run: Run) -> tuple[float, float]:
    """All parameters of the model and those that were trained; of a baseline none, infinite where nobody wrote it down."""
    if trains_no_encoder(run):
        return 0.0, 0.0
    total, trained = (run.metrics.get(f"model/{name}", math.inf) for name in ("total_params", "trainable_params"))
    return total, trained


def _choose_seed(runs: Sequence[Run]) -> tuple[Run, str]:
    """The run with the best validation score: to choose among seeds by test scores would make these too good."""
    if len(runs) == 1:
        return runs[0], ""
    named = runs[0].params.get("metric_for_best_model", selecting(label_type_of(runs)).name)
    score, sign = f"val/{named}", -1 if lower_is_better(named) else 1
    known = [run for run in runs if score in run.metrics]
    if not known:
        return runs[0], f" Of its {len(runs)} seeds the first: none has {score}."
    best = max(known, key=lambda run: sign * run.metrics[score])
    return best, f" Of its {len(runs)} seeds {best.params.get('seed', '?')} has the best {score}, {best.metrics[score]:.4f}."
