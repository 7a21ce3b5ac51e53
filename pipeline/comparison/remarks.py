"""What must be said about a results table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from pipeline.comparison.budgets import list_budgets, list_inequalities
from pipeline.comparison.overlap import say_overlap
from pipeline.comparison.rows import UNTUNED, name_with_seed, row_name
from pipeline.comparison.seeds import describe_failures, describe_mixed_times, describe_unequal_seeds
from pipeline.comparison.selection import Selection
from pipeline.comparison.settings import describe_unlike_settings
from pipeline.comparison.statistics import Statistics
from pipeline.comparison.table import group_runs, headline
from pipeline.comparison.transfer import describe_transfer
from pipeline.comparison.verdict import Verdict, reach_verdict
from pipeline.data.token_losses import MOSTLY_UNKNOWN, UNKNOWN, explain_unknown
from pipeline.evaluation.chance import SWAPPED
from pipeline.evaluation.uncertainty import smallest_accuracy_gap


def remarks(table: pd.DataFrame, selection: Selection, statistics: Statistics | None = None) -> Iterator[str]:
    """What a reader must know before drawing conclusions; the verdict first, where there are statistics."""
    if statistics is not None:
        yield from describe_statistics(table, selection, statistics)
    fingerprint = selection.kept[0].tags["data_fingerprint"]
    yield f"All rows were tested on the same examples (data fingerprint {fingerprint[:12]})."
    yield say_overlap(selection)
    yield from describe_transfer(selection.kept)
    yield from (f"{name}: {reason}" for name, reason in explain_unknown_tokens(table, selection).items())
    yield from describe_fairness(table, selection)
    if statistics is None or not statistics.pairs:
        yield describe_chance(table, selection)
    yield from describe_seeds(selection)
    yield from describe_unlike_settings(group_runs(table, selection.kept))
    for line in selection.summarise_left_out():
        yield f"Left out: {line}."


def describe_fairness(table: pd.DataFrame, selection: Selection) -> Iterator[str]:
    """What must be said where rows were not tuned, or not with the same budget, or not trained on the same data."""
    if list_budgets(selection.kept) == [UNTUNED]:
        yield "untuned: hyperparameters were fixed beforehand, not searched with an equal budget."
    yield from selection.doubts
    if found := " and ".join(list_inequalities(group_runs(table, selection.kept))):
        yield (
            f"The rows were {found}, so their ranking is not fair."
            if selection.ranked
            else f"Not ranked, in order of names: the rows were {found}. Give all the same budget and the same data, or rank "
            "them nevertheless with --allow-unequal-budgets true."
        )


_NAMED_ONE_BY_ONE = 6  # more runs that were reused are counted by row


def describe_seeds(selection: Selection) -> Iterator[str]:
    """Which seeds failed, whether rows differ in theirs, and which runs are of earlier studies."""
    yield from describe_failures(selection)
    if selection.missing:
        yield f"Planned and missing: {', '.join(selection.missing)}."
    yield from describe_unequal_seeds(selection)
    yield from describe_mixed_times(selection)
    if selection.reused:
        reused = [run for run in selection.kept if run.run_id in selection.reused]
        counted = Counter(map(row_name, reused))
        names = [name_with_seed(run) for run in reused]
        if len(reused) > _NAMED_ONE_BY_ONE:
            names = [f"{count} of {name}" for name, count in counted.items()]
        yield f"Reused from earlier studies, as code, configuration and data are the same: {', '.join(names)}."


def describe_chance(table: pd.DataFrame, selection: Selection) -> str:
    """How small a difference the test can show at all."""
    seeds = "one seed" if (table["seeds"] == 1).any() else f"{table['seeds'].min()} seeds"
    examples = selection.kept[0].metrics.get("test/examples")
    if not examples:
        return f"{seeds.capitalize()}: differences of a point or two may be chance."
    if headline(table) != "f1_macro":
        return f"{int(examples):,} test examples, {seeds}: differences of one or two hundredths may be chance."
    gap = 100 * smallest_accuracy_gap(int(examples))
    return (
        f"{int(examples):,} test texts, {seeds}: differences below {gap:.1f} points cannot be told from chance (80 % power at "
        "the 5 % level, where one text in twenty is judged differently)."
    )


def find_verdict(table: pd.DataFrame, selection: Selection, statistics: Statistics) -> Verdict:
    """What the tests show; rows that were tuned or trained unequally are not ranked unless told."""
    unequal = list_inequalities(group_runs(table, selection.kept))
    return reach_verdict(statistics, table, len(selection.left_out), unequal, selection.ranked, selection.missing)


def explain_unknown_tokens(table: pd.DataFrame, selection: Selection) -> dict[str, str]:
    """Row -> why it can hardly learn, for those whose tokenizer knows next to nothing of the texts."""
    found = {}
    for name, runs in group_runs(table, selection.kept).items():
        percent = max(run.metrics.get(UNKNOWN, 0) for run in runs)
        if percent >= MOSTLY_UNKNOWN:
            found[name] = explain_unknown(percent, runs[0].params.get("model", "the encoder"))
    return found


def describe_statistics(table: pd.DataFrame, selection: Selection, statistics: Statistics) -> Iterator[str]:
    """The verdict, how to read the groups, and whose predictions are missing."""
    yield from find_verdict(table, selection, statistics).sentences
    if any(row.group for row in statistics.rows):
        yield (
            "Rows that share a letter of group cannot be told apart by macro F1 (all pairs tested on the same texts, corrected "
            "by Holm's method for their number; comparisons.csv holds each)."
        )
    names, unknown = {run.run_id: row_name(run) for run in selection.kept}, explain_unknown_tokens(table, selection)
    for run_id, reason in statistics.missing.items():
        yield f"No interval and no group from {names[run_id]} (run {run_id}): {reason}."
    for row in statistics.rows:
        if row.constant:
            seeds = "" if row.seeds == 1 else f" with {row.constant} of its {row.seeds} seeds"
            way_out = (
                "Most of what it reads is unknown to its tokenizer, which no learning rate mends."
                if row.name in unknown
                else "Another learning rate may help."
            )
            yield f"{row.name} predicts one class for every text{seeds}: it has not learned. {way_out}"
        if row.below_chance:
            seeds = "" if row.seeds == 1 else f" with {row.below_chance} of its {row.seeds} seeds"
            yield f"{row.name} is {SWAPPED}{seeds}."
        if row.seeds and row.missing:
            yield (
                f"{row.name}: the table's scores are means over {row.seeds + row.missing} seeds; interval, group, tests and "
                f"verdict are of the {row.seeds} whose predictions could be read."
            )
