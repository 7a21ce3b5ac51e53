"""The tables of the report, read from the tracking store."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.breakdown import Breakdown
from pipeline.comparison.comparability import TRANSFERRED, worst_column
from pipeline.comparison.conclusions.phrases import Unit
from pipeline.comparison.conclusions.wording import wording
from pipeline.comparison.data_audit import OVERLAP, DataAudit
from pipeline.comparison.learning_curve.curve import LearningCurve
from pipeline.comparison.pair_tests import PairTest
from pipeline.comparison.pareto import Cost, Point
from pipeline.comparison.predictions import RecordedPredictions, read_record
from pipeline.comparison.report.blocks import Cell, Table
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import RowStatistics, Statistics
from pipeline.comparison.table import Column, show_group, shown_columns
from pipeline.comparison.training_curves import Curve
from pipeline.data.overlap.pairs import PAIR_KINDS
from pipeline.data.overlap.texts import KINDS
from pipeline.evaluation.metric import Metric, list_metrics
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.multi_label import AT_HALF
from pipeline.evaluation.testing.predictions import count_confusions
from pipeline.tracking.run_kinds import was_trained_here
from pipeline.tracking.runs import Run, RunStore

_HARDEST = 20
_CLASSES = 12  # more fit no page; those that are hardest are shown
_DARKEST = 0.8  # a number must stay readable
_COSTS = (
    *("trainable_percent", "setting", "train_seconds", "cache_seconds", "peak_cuda_mb", "peak_rss_mb", "artifact_mb"),
    *("predict_setting", "latency_ms_median", "merged_latency_ms_median", "predict_examples_per_second"),
)


@dataclass(frozen=True)
class Provenance:
    """Where a compared run came from."""

    run: Run
    address: str
    """Where a browser shows it; may be empty."""
    environment: Mapping[str, Any]
    """Versions, hardware and command line; empty where they were not recorded."""

    @property
    def command(self) -> str:
        """The command line that made it; a study's runs are made by processes of it, and share it."""
        stage = [str(word) for word in (self.environment.get("command") or [])[1:]]
        return f"python -m pipeline {shlex.join(stage)}" if stage else ""

    @property
    def remake(self) -> str:
        """The command line that makes it again; none of a model that was not trained here."""
        return f"python -m pipeline reproduce --run-id {self.run.run_id}" if was_trained_here(self.run) else ""


@dataclass(frozen=True)
class ReportData:
    """All that the report shows."""

    title: str
    table: pd.DataFrame
    selection: Selection
    statistics: Statistics
    curves: Sequence[Curve]
    points: dict[Cost, list[Point]]
    recorded: RecordedPredictions
    hardest: pd.DataFrame
    provenance: Sequence[Provenance]
    breakdown: Breakdown
    audit: DataAudit
    curve: LearningCurve | None = None
    """Of rows of several numbers of labelled texts; all else is of the largest."""

    @property
    def names(self) -> list[str]:
        """What each row of the table is called."""
        return [row.name for row in self.statistics.rows]

    def confusions(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Name of a row -> how often its first seed took a true class (rows) for another (columns); of classes alone."""
        if self.recorded.of_sets:
            return
        classes = np.arange(len(self.recorded.classes))
        seeds = {run.run_id: int(run.params.get("seed") or 0) for run in self.selection.kept}
        for name, ids in zip(self.names, self.table["run_ids"], strict=True):
            present = [run_id for run_id in ids.split() if run_id in self.recorded.predicted]
            if present:
                run_id = min(present, key=lambda run_id: seeds[run_id])
                yield name, count_confusions(self.recorded.gold, self.recorded.predicted[run_id], classes)


def read_provenance(runs: Sequence[Run], store: RunStore) -> list[Provenance]:
    """The compared runs with their records; what is gone is left empty."""
    return [Provenance(run, store.web_address(run.run_id), read_record(run, "environment.json", store)) for run in runs]


def results(content: ReportData) -> Table:
    """The results table."""
    return results_of(content.table, content.statistics)


def results_of(table: pd.DataFrame, statistics: Statistics) -> Table:
    """A results table: names, scores, costs, and then settings and whatever else there is."""
    columns, names = {column.name: column for column in shown_columns(table)}, [row.name for row in statistics.rows]
    if table["strategy"].tolist() == names:
        del columns["strategy"]
    columns.pop("entry", None)  # the name holds it
    if "ece" in table:
        columns["ece"] = Column("ece", "ECE", [_figure(value, ".3f") for value in table["ece"]], is_text=False)
    order = [name for name in (*_scores(statistics.metric), *_COSTS) if name in columns]
    order += [name for name in columns if name not in order]
    values = {name: _sort_values(columns[name], table[name]) for name in order}
    if "ece" in values:
        values["ece"] = _last_if_apart(statistics, values["ece"])
    rows = [
        [Cell(name), *(Cell(columns[column].cells[row], values[column][row]) for column in order)]
        for row, name in enumerate(names)
    ]
    headings = ["name", *(columns[name].heading for name in order)]
    return Table("Test scores and costs", headings, rows, named=True)


def _scores(ranks: Metric) -> Iterator[str]:
    """Columns in the order in which the report shows them, what ranks first."""
    yield from (ranks.name, f"{ranks.name}_low", AT_HALF, "group", "learned", worst_column(ranks.name))
    yield from (metric.name for metric in list_metrics() if metric.is_prominent and metric.name != ranks.name)
    yield from ("ece", *(f"transfer_{metric.name}" for metric in TRANSFERRED))


def _last_if_apart(statistics: Statistics, errors: Sequence[float | None]) -> list[float | None]:
    """What calibration errors sort by: whoever answers all texts alike is easily as right as it says, and stands behind all."""
    return [math.nan if row.learned_nothing else error for row, error in zip(statistics.rows, errors, strict=True)]


def learning_curve(curve: LearningCurve) -> Table:
    """The score of every row at every size, with its interval and its group among the rows of that size."""
    by_row = {name: {size.label: (row, line) for size, row, line in curve.points(name)} for name in curve.names}
    headings = ["name", *(f"{size.texts:,}" for size in curve.sizes)]
    rows = [
        [Cell(name), *(_curve_cell(curve.metric, by_row[name].get(size.label)) for size in curve.sizes)] for name in curve.names
    ]
    caption = f"{curve.metric.title} by labelled texts, with its 95 % interval; letters compare within a column"
    return Table(caption, headings, rows, named=True)


def _curve_cell(metric: Metric, point: tuple[RowStatistics, Mapping[str, Any]] | None) -> Cell:
    if point is None:
        return Cell("", math.nan)
    row, line = point
    value, score = float(line[metric.name]), row.score
    interval = f" ({score.low:.3f} to {score.high:.3f})" if score else ""
    return Cell(f"{value:.3f}{interval} {show_group(row.group, row.group_mark)}".rstrip(), value)


def _sort_values(column: Column, cells: pd.Series) -> Sequence[float | None]:
    """What the cells of a column sort by: its numbers, also where they are written as words; None of other words."""
    if column.name == "tuned":  # by the size of the budget, which its unit follows
        return [float(match.group().replace(",", "")) if (match := re.search(r"\d[\d,.]*", cell)) else 0.0 for cell in cells]
    numbers = pd.to_numeric(cells.replace("all", math.inf), errors="coerce")
    if column.is_text or (numbers.isna() & cells.notna() & (cells != "")).any():
        return [None] * len(cells)
    return [float(number) for number in numbers]


def by_class(content: ReportData) -> Table:
    """F1 of every row and class; of many classes those that are hardest."""
    table = content.breakdown.by_class
    means = table.groupby("class", sort=False)["f1"].mean()
    shown = means.nsmallest(_CLASSES).index if len(means) > _CLASSES else means.index
    texts = table.drop_duplicates("class").set_index("class")["texts"]
    wide = table.pivot_table("f1", "row", "class", sort=False)[shown].reindex(table["row"].unique())
    kinds = "labels" if content.recorded.of_sets else "classes"
    of = (
        f"the {_CLASSES} {kinds} of {len(means):,} that are hardest; per_class.csv holds all" if len(shown) < len(means) else ""
    )
    caption = f"F1 by {_kind(content)}{f', {of}' if of else ''}"
    return _shaded(caption, wide, [f"{name} ({texts[name]:,})" for name in shown], content)


def _kind(content: ReportData) -> str:
    return "label" if content.recorded.of_sets else "class"


def by_length(content: ReportData) -> Table:
    """The score of every row on short and on long texts."""
    table = content.breakdown.by_length
    parts = table.drop_duplicates("min_words")
    wide = table.pivot_table(F1.name, "row", "min_words", sort=False).reindex(table["row"].unique())
    bounds = parts[["min_words", "max_words", "texts"]].to_numpy().tolist()
    spans = [f"{low} to {high}" if low < high else f"{low}" for low, high, _ in bounds]
    headings = [f"{span} words ({texts:,})" for span, (*_, texts) in zip(spans, bounds, strict=True)]
    score = f"{F1.label[0].upper()}{F1.label[1:]}"
    return _shaded(
        f"{score} by length of text; a {_kind(content)} that stands in no text of a part counts 0 there",
        wide[parts["min_words"]],
        headings,
        content,
    )


def certainty(content: ReportData) -> Table:
    """How often a row is right, how often it says that it is, and how far the two lie apart."""
    apart = {content.names[number] for number in content.statistics.apart}
    rows = [
        [
            Cell(name),
            Cell(f"{accuracy:.3f}", accuracy),
            Cell(f"{confidence:.3f}", confidence),
            Cell(f"{confidence - accuracy:+z.3f}", confidence - accuracy),
            Cell(f"{error:.3f}", math.nan if name in apart else error),
        ]
        for name, accuracy, confidence, error in content.breakdown.certainty.to_numpy().tolist()
    ]
    caption = "How sure it is: too sure where the mean confidence is above the accuracy; ECE is the expected calibration error"
    headings = ["name", "accuracy", "mean confidence", "too sure by", "ECE"]
    if content.recorded.of_sets:
        caption = (
            "How sure it is of a label: the share of texts that have one beside its mean probability; ECE is how far the two "
            "are apart in bins of probability, of all labels together"
        )
        headings[1:4] = ["true", "mean probability", "too high by"]
    if apart:
        caption += ", by which rows that did not learn are not ranked"
    return Table(caption, headings, rows, named=True)


def pairs(content: ReportData) -> Table:
    """Every pair of rows."""
    names, metric = content.names, content.statistics.metric
    unit = Unit.of(metric)

    def differ(pair: PairTest) -> list[Cell]:
        gap, form = pair.differences[metric.name], f"+z.{unit.decimals + 1}f"
        value, low, high = (format(unit.factor * figure, form) for figure in (gap.value, gap.low, gap.high))
        return [Cell(value, gap.value), Cell(f"{low} to {high}", gap.low)]

    rows = [
        [
            Cell(names[pair.first]),
            Cell(names[pair.second]),
            *differ(pair),
            Cell(f"{pair.p_holm:.3g}", pair.p_holm),
            Cell(f"{pair.p_mcnemar_holm:.3g}", pair.p_mcnemar_holm),
            Cell(_conclude(pair, names, content.selection.ranked)),
        ]
        for pair in content.statistics.pairs
    ]
    test = wording(content.statistics.label_type).pair_test
    headings = [
        "first",
        "second",
        metric.label + unit.word.replace(" ", ", "),
        "95 % interval",
        "p (Holm)",
        f"{test} p (Holm)",
        "so",
    ]
    return Table("First less second, on the same test texts", headings, rows)


def _conclude(pair: PairTest, names: Sequence[str], ranked: bool) -> str:
    against = f" ({pair.overruled_by}, against the interval)" if pair.overruled_by else ""
    if pair.better is None:
        return f"no difference shown{against}"
    return f"{names[pair.better]} is better{against}" if ranked else f"they differ{against}"


def confusions(counts: NDArray[np.int64], classes: Sequence[str]) -> Table:
    """One row's confusion matrix, shaded by the share of the true class."""
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [
        [Cell(name), *(Cell(f"{count:,}", count, share=share) for count, share in zip(mine, row, strict=True))]
        for name, mine, row in zip(classes, counts.tolist(), (_DARKEST * shares).tolist(), strict=True)
    ]
    caption = "Rows are true classes, columns predicted ones; of the first seed"
    return Table(caption, ["true", *classes], rows, sortable=False, named=True)


def hardest(content: ReportData) -> Table:
    """The texts that most strategies get wrong, and are sure of."""
    table = content.hardest.head(_HARDEST)
    texts = [name for name in ("sentence", "sentence_pair") if name in table]
    rows = [
        [
            Cell("\n".join(str(row[name]) for name in texts), kind="long"),
            Cell(str(row["gold"])),
            Cell(str(row["usual_mistake"])),
            Cell(f"{row['wrong_share']:.0%}", row["wrong_share"]),
            Cell(f"{row['confidence']:.2f}", row["confidence"]),
        ]
        for row in table.to_dict("records")
    ]
    voters = "rows that learned" if content.statistics.unlearned else "rows"
    caption = f"Share of the {voters} that are wrong, and how sure they are; such a label may itself be wrong"
    headings = ["text", "label", "mostly taken for", "wrong", "confidence"]
    if content.recorded.of_sets:
        caption = (
            f"Share of the {voters} that get a label wrong, and how sure they are; + is a label given wrongly, - one that is "
            "lacking. Such a label may itself be wrong"
        )
        headings[1:3] = ["labels", "usual mistake"]
    return Table(caption, headings, rows)


def parts(audit: DataAudit) -> Table:
    """Sizes of the parts, the classes in them, and what stands twice within."""
    within = audit.count("duplicates_within")
    classes = audit.classes[:_CLASSES] if len(audit.classes) <= _CLASSES else []
    headings = ["part", "rows", *classes, *([] if classes or not audit.classes else ["rarest class", "largest class"])]
    rows = []
    for part, count in audit.rows.items():
        by_name = audit.rows_by_class(part)
        ends = sorted(by_name.items(), key=lambda item: item[1])
        shown = [(by_name[name], "") for name in classes] or [(ends[end][1], f" {ends[end][0]}") for end in (0, -1) if ends]
        cells = [Cell(f"{of_class:,} ({of_class / max(1, count):.0%}){name}", of_class) for of_class, name in shown]
        rows.append([Cell(part), Cell(f"{count:,}", count), *cells, Cell(f"{within.get(part, 0):,}", within.get(part, 0))])
    what = "labels, with the share of the rows that have each" if audit.manifest.get("multi") else "classes"
    return Table(f"The parts and their {what}", [*headings, "repeated within"], rows, sortable=False, named=True)


def twice(audit: DataAudit) -> Table:
    """What stands in two parts."""
    duplicates = audit.count("duplicates_across")
    rows = [[Cell(pair.replace("/", " and ")), Cell(f"{count:,}", count)] for pair, count in duplicates.items()]
    return Table("Texts or pairs that stand in two parts", ["parts", "in both"], rows, sortable=False, named=True)


def overlap(audit: DataAudit) -> Table:
    """How test overlaps train, by kind."""
    rows = [
        [Cell(kind), Cell(meaning), Cell(f"{share:.2f} %", share)]
        for kind, meaning in (KINDS | PAIR_KINDS).items()
        if (share := audit.overlap.get(OVERLAP + kind)) is not None
    ]
    return Table("Overlap of test with train, by kind", ["kind", "meaning", "test examples"], rows, named=True)


def runs(content: ReportData) -> Table:
    """The compared runs, with links and how to make them again."""
    headings = ["run", "strategy", "seed", "status", "commit", "make it again"]
    return Table("The compared runs", headings, [_run_cells(origin) for origin in content.provenance])


def _run_cells(origin: Provenance) -> list[Cell]:
    run = origin.run
    seed = run.params.get("seed", "")
    return [
        Cell(run.name, link=origin.address),
        Cell(run.tags.get("strategy", "")),
        Cell(seed, float(seed) if seed.isdigit() else float("nan")),
        Cell(run.status),
        Cell(run.tags.get("git_commit", "")[:12]),
        Cell(origin.remake, kind="code"),
    ]


def _shaded(caption: str, wide: pd.DataFrame, headings: Iterable[str], content: ReportData) -> Table:
    """A line per row of the results table; the lowest figure of those that learned is not shaded, the highest most."""
    values = wide.to_numpy(float)
    apart = wide.index.isin([content.names[number] for number in content.statistics.apart])
    scale = values if apart.all() else values[~apart]
    shares = _DARKEST * np.clip((values - scale.min()) / (np.ptp(scale) or 1), 0, 1)
    rows = [
        [Cell(str(name)), *(Cell(f"{value:.3f}", value, share=share) for value, share in zip(mine, dark, strict=True))]
        for name, mine, dark in zip(wide.index, values.tolist(), shares.tolist(), strict=True)
    ]
    return Table(caption, ["name", *headings], rows, named=True)


def _figure(value: Any, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)
