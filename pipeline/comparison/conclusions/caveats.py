"""The caveats below the table: fairness, seeds, chance, transfer, statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import pandas as pd

from pipeline.comparison.comparability import (
    TRANSFERRED,
    describe_failures,
    describe_mixed_times,
    describe_unequal_seeds,
    describe_unlike_settings,
)
from pipeline.comparison.conclusions.phrases import say_lead
from pipeline.comparison.conclusions.verdict import Verdict, explain_overruling, reach_verdict, say_not_learned
from pipeline.comparison.conclusions.wording import wording
from pipeline.comparison.data_audit import say_overlap
from pipeline.comparison.pair_tests import BOOTSTRAP, HOLM, PairTest
from pipeline.comparison.ranking import headline
from pipeline.comparison.row_names import group_runs
from pipeline.comparison.selection import Selection, list_budgets, list_inequalities
from pipeline.comparison.statistics import AGAINST_INTERVAL, Statistics
from pipeline.comparison.table import MOST_LETTERS, split_group
from pipeline.data.token_losses import MOSTLY_UNKNOWN, UNKNOWN, explain_unknown
from pipeline.evaluation.metric import ranking
from pipeline.evaluation.statistics.chance import SWAPPED
from pipeline.evaluation.statistics.intervals import smallest_accuracy_gap
from pipeline.tracking.run_kinds import UNTUNED, is_trial, name_with_seed, row_name
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag


def describe_transfer(runs: Sequence[Run]) -> Iterator[str]:
    """Which second data set the transfer columns are of; a warning where it is not one and the same for all rows."""
    tested = [run for run in runs if any(f"transfer/{metric.name}" in run.metrics for metric in TRANSFERRED)]
    if not tested:
        return
    data = {(run.tags.get(Tag.TRANSFER_FINGERPRINT, ""), run.metrics.get("transfer/examples", 0.0)) for run in tested}
    names = ", ".join(dict.fromkeys(run.tags.get(Tag.TRANSFER_DATASET, "?") for run in tested))
    if len(data) > 1:
        yield f"The transfer columns are of different texts ({names}), so they must not be compared."
        return
    first = tested[0].metrics
    used = int(first.get("transfer/examples", 0))
    there = int(first.get("transfer/rows", used))  # not noted by older runs
    amount = f"{used:,}" if used == there else f"{used:,} of {there:,}"
    yield (
        f"Transfer: scores on {amount} texts of {names}, which no model was "
        f"trained or selected on; {first.get('transfer/overlap_train_exact', 0.0):.1f} % of them stand in train word for word."
    )


def list_caveats(table: pd.DataFrame, selection: Selection, statistics: Statistics | None = None) -> Iterator[str]:
    """What a reader must know before drawing conclusions; the verdict first, where there are statistics."""
    if statistics is not None:
        yield from describe_statistics(table, selection, statistics)
    yield from describe_ranking(table)
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


def describe_ranking(table: pd.DataFrame) -> Iterator[str]:
    """That another metric than usual ranks, where one does."""
    metric, usual = headline(table), ranking(headline(table).of)
    if metric != usual:
        better = "" if metric.greater_is_better else " (lower is better)"
        yield (
            f"Rows are compared by {metric.label}{better}, as --ranking-metric says, in place of {usual.label}. That is fair "
            "only if it was chosen before any test result was seen."
        )


def describe_fairness(table: pd.DataFrame, selection: Selection) -> Iterator[str]:
    """What must be said where rows were not tuned, or not with the same budget, or not trained on the same data."""
    if list_budgets(selection.kept) == [UNTUNED]:
        yield "untuned: hyperparameters were fixed beforehand, not searched with an equal budget."
    yield from selection.doubts
    if unequal := " and ".join(list_inequalities(group_runs(table, selection.kept))):
        yield (
            f"The rows were {unequal}, so their ranking is not fair."
            if selection.ranked
            else f"Not ranked, in order of names: the rows were {unequal}. Give all the same budget and the same data, or rank "
            "them nevertheless with --allow-unequal-budgets true."
        )


_NAMED_ONE_BY_ONE = 6  # more runs that were reused are counted by row


def describe_seeds(selection: Selection) -> Iterator[str]:
    """Which seeds failed, whether rows differ in theirs, which entries share runs, and which runs are of earlier studies."""
    yield from describe_failures(selection)
    if selection.missing:
        yield f"Planned and missing: {', '.join(selection.missing)}."
    yield from describe_unequal_seeds(selection)
    yield from describe_mixed_times(selection)
    pairs = ((title, row_name(run)) for run in selection.kept for title in selection.also.get(run.run_id, ()))
    yield from (f"{title}: the same training as {name}, so the two have one row." for title, name in dict.fromkeys(pairs))
    taken = [run for run in selection.kept if run.run_id in selection.reused]
    if trials := [name_with_seed(run) for run in taken if is_trial(run)]:
        yield f"The best trial of its search, not trained again, as that would repeat it: {', '.join(trials)}."
    if reused := [run for run in taken if not is_trial(run)]:
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
    if headline(table).of != "class":
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
    reasons = {}
    for name, runs in group_runs(table, selection.kept).items():
        percent = max(run.metrics.get(UNKNOWN, 0) for run in runs)
        if percent >= MOSTLY_UNKNOWN:
            reasons[name] = explain_unknown(percent, runs[0].params.get("model", "the encoder"))
    return reasons


def describe_statistics(table: pd.DataFrame, selection: Selection, statistics: Statistics) -> Iterator[str]:
    """The verdict, how to read the groups, and whose predictions are missing."""
    yield from find_verdict(table, selection, statistics).sentences
    if any(row.group for row in statistics.rows):
        yield (
            f"Rows that share a letter of group cannot be told apart by {statistics.metric.label} (all pairs tested on the "
            "same texts, corrected by Holm's method for their number; comparisons.csv holds each)."
        )
    if any(len(split_group(row.group)) > MOST_LETTERS for row in statistics.rows):
        yield f"Of groups of more than {MOST_LETTERS} letters only the first are shown; model_summary.csv has them whole."
    names = {run.run_id: row_name(run) for run in selection.kept}
    for run_id, reason in statistics.missing.items():
        yield f"No interval and no group from {names[run_id]} (run {run_id}): {reason}."
    yield from _describe_overruled(statistics)
    yield from _describe_unlearned(statistics, explain_unknown_tokens(table, selection))
    for row in statistics.rows:
        if row.seeds and row.missing:
            yield (
                f"{row.name}: the table's scores are means over {row.seeds + row.missing} seeds; interval, group, tests and "
                f"verdict are of the {row.seeds} whose predictions could be read."
            )


_PAIRS_NAMED = 3  # of more that were decided alike, their number is said


def _describe_overruled(statistics: Statistics) -> Iterator[str]:
    """Which pairs were not decided as the interval of their difference says, and why."""
    if not any(row.group for row in statistics.rows):  # not ranked
        return
    alike: dict[tuple[str, bool], list[PairTest]] = {}
    for pair in statistics.pairs:
        if pair.overruled_by:
            alike.setdefault((pair.overruled_by, pair.different), []).append(pair)
    for (overruled_by, different), pairs in alike.items():
        share, holds = ("share no letter", "holds 0") if different else ("share a letter", "leaves out 0")
        if len(pairs) <= _PAIRS_NAMED:
            for pair in pairs:
                better, other = (pair.first, pair.second) if pair.lead.value >= 0 else (pair.second, pair.first)
                names = f"{statistics.rows[better].name} and {statistics.rows[other].name}"
                yield (
                    f"{AGAINST_INTERVAL} {names} {share} although the 95 % interval of their difference, "
                    f"{say_lead(statistics, better, other)}, {holds}: {explain_overruling(pair, statistics)}."
                )
        else:
            yield (
                f"{AGAINST_INTERVAL} {len(pairs)} pairs {share} although the 95 % interval of their difference {holds}: "
                f"{_DECIDED[overruled_by]} (interval_overruled_by in comparisons.csv)."
            )


_DECIDED = {
    HOLM: "it is that of one pair alone, and Holm's correction is for all",
    **{
        words.pair_test: f"{words.of_pairs} decides where few texts are judged differently"
        for words in (wording("class"), wording("multi"))
    },
    BOOTSTRAP: "the paired bootstrap decides",
}


def _describe_unlearned(statistics: Statistics, unknown: Collection[str]) -> Iterator[str]:
    """Which rows or seeds did not learn, what they do instead, and what may help.

    Args:
        unknown: Names of rows whose tokenizer knows next to nothing of the texts.
    """
    for row in statistics.rows:
        if not row.unlearned:
            continue
        does, advice = "", " More training examples may help." if row.is_baseline else " Another learning rate may help."
        same = wording(statistics.label_type).constant
        if row.constant:
            who = "it predicts" if row.constant == row.judged else f"with {row.constant} of its {row.judged} seeds it predicts"
            does = f": {who} {same} for every text"
        elif row.below_chance:
            who = "it is" if row.below_chance == row.judged else f"with {row.below_chance} of its {row.judged} seeds it is"
            does, advice = f": {who} {SWAPPED}", ""
        if row.name in unknown:
            advice = " Most of what it reads is unknown to its tokenizer, which no learning rate mends."
        yield f"{say_not_learned(row)}{does}.{advice}"
