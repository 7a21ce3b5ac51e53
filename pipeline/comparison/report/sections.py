"""The report's sections. Empty ones are left out."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.comparison.conclusions.caveats import describe_seeds, find_verdict, list_caveats
from pipeline.comparison.conclusions.headline import Headline, write_headline
from pipeline.comparison.conclusions.labels_needed import describe_forecast, describe_labels_needed
from pipeline.comparison.data_audit import say_overlap
from pipeline.comparison.report import tables
from pipeline.comparison.report.blocks import Block, BulletList, Charts, Code, Collapsible, Conclusion, Paragraph, Section
from pipeline.comparison.report.charts import draw_calibration, draw_costs, draw_learning_curve, draw_training
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.row_names import group_runs
from pipeline.comparison.selection import list_inequalities

_MATRIX_CLASSES = 12  # of more, a matrix fits no page
_OPEN_CHARTS = 6  # more of a kind are folded


def headline(content: ReportData) -> Headline:
    """The answer in plain words, with which the report begins."""
    found = find_verdict(content.table, content.selection, content.statistics)
    unequal = list_inequalities(group_runs(content.table, content.selection.kept))
    return write_headline(found, content.statistics, content.table, unequal)


def list_sections(content: ReportData) -> list[Section]:
    """The report below its headline."""
    results = f"Results of {content.curve.sizes[-1].texts:,} labelled texts" if content.curve else "Results"
    sections = {
        "How many labels": _labels_needed(content),
        results: _results(content),
        "What quality costs": _trade_offs(content),
        "Where it is right and how sure it is": _breakdown(content),
        "Training curves": _training_curves(content),
        "Every pair": _pairs(content),
        "Confusion matrices": _confusions(content),
        "Hardest examples": _hardest(content),
        "Data": _data(content),
        "How this was made": _provenance(content),
    }
    titled = ((title, list(blocks)) for title, blocks in sections.items())
    return [Section(title, blocks, "results" if title == results else "") for title, blocks in titled if blocks]


def _labels_needed(content: ReportData) -> Iterator[Block]:
    """Scores by number of labelled texts, what follows from them, and each size's table and verdict."""
    curve = content.curve
    if curve is None:
        return
    yield Conclusion(list(describe_labels_needed(curve)))
    if any(row.score for size in curve.sizes for row in size.statistics.rows):
        yield Charts([draw_learning_curve(curve)], "learning_curve")
        yield Paragraph(
            "Bars are 95 % intervals over test texts, seeds and the texts that each seed was trained on. Lines only guide the "
            "eye: nothing was measured between two sizes. A hollow mark is a forecast."
        )
    yield tables.learning_curve(curve)
    yield BulletList([describe_forecast(found, curve) for found in curve.forecasts])
    for size in curve.sizes[:-1]:
        verdict = find_verdict(size.table, size.selection, size.statistics).sentences
        caveats = BulletList(list(describe_seeds(size.selection)))
        shown: list[Block] = [tables.results_of(size.table, size.statistics), Conclusion(verdict), caveats]
        yield Collapsible(f"Results of {size.texts:,} labelled texts", shown)


def _results(content: ReportData) -> Iterator[Block]:
    """The table, what follows from it, and what must be said about it."""
    yield tables.results(content)
    sentences = find_verdict(content.table, content.selection, content.statistics).sentences
    yield Conclusion(sentences)
    said = set(sentences)
    yield BulletList([line for line in list_caveats(content.table, content.selection, content.statistics) if line not in said])


def _trade_offs(content: ReportData) -> Iterator[Block]:
    """Quality against each cost, a chart per cost and setting."""
    if content.points:
        hollow = " A hollow mark is dominated: another row costs no more and was shown to be better."
        judged = hollow if content.selection.ranked else ""
        if content.statistics.apart:
            judged += " A cross did not learn; where it lies beyond the others it stands at the edge."
        yield Paragraph(
            f"Bars are 95 % intervals of {content.statistics.metric.label}, and the range of the cost over seeds (of latency, "
            f"over rounds, too).{judged} Times and memory compare on the same hardware, precision, batch size, processes and "
            "trainings at once only."
        )
        yield Charts(draw_costs(content), "pareto")


def _breakdown(content: ReportData) -> Iterator[Block]:
    """Scores by class and by length, and calibration."""
    if content.breakdown.by_class.empty:
        return
    yield Paragraph("All figures are means over the seeds of a row; in brackets stands how many test texts there are.")
    yield tables.by_class(content)
    yield tables.by_length(content)
    if content.breakdown.certainty.empty:
        return
    yield tables.certainty(content)
    charts = Charts(draw_calibration(content))
    yield charts if len(charts.charts) <= _OPEN_CHARTS else Collapsible(f"Reliability, {len(charts.charts)} charts", [charts])


def _training_curves(content: ReportData) -> Iterator[Block]:
    """Validation scores and loss by epoch."""
    if content.curves:
        yield Charts(draw_training(content), "training_curves")


def _pairs(content: ReportData) -> Iterator[Block]:
    """Every pair of rows."""
    if content.statistics.pairs:
        yield Collapsible(_count(len(content.statistics.pairs), "pair"), [tables.pairs(content)])


def _confusions(content: ReportData) -> Iterator[Block]:
    """A confusion matrix per row of the table, of its first seed."""
    classes = content.recorded.classes
    if not content.recorded.predicted or content.recorded.of_sets:
        return
    if len(classes) > _MATRIX_CLASSES:
        yield Paragraph(f"{len(classes):,} classes are too many for matrices here; confusions.csv holds them.")
        return
    for name, counts in content.confusions():
        yield Collapsible(name, [tables.confusions(counts, classes)])


def _hardest(content: ReportData) -> Iterator[Block]:
    """The texts that most strategies get wrong, and are sure of."""
    if not content.hardest.empty:
        yield tables.hardest(content)


def _data(content: ReportData) -> Iterator[Block]:
    """Which data these are, their parts, what stands twice, and how test overlaps train."""
    run, audit = content.selection.kept[0], content.audit
    facts = {
        "data": run.params.get("dataset", "?"),
        "split": run.params.get("split", "?"),
        "split seed": run.params.get("split_seed", "?"),
        "fingerprint": run.tags.get("data_fingerprint", "?"),
        "test examples": f"{int(run.metrics.get('test/examples', content.statistics.texts)):,}",
    }
    if audit.conflicting_labels is not None:
        what = "set of labels" if audit.manifest.get("multi") else "label"
        facts[f"texts or pairs with more than one {what}"] = f"{audit.conflicting_labels:,}"
    facts |= {f"dropped rows with {why}": f"{count:,}" for why, count in audit.manifest.get("dropped", {}).items() if count}
    yield BulletList([f"{name}: {value}" for name, value in facts.items()])
    if audit.manifest:
        yield tables.parts(audit)
        yield tables.twice(audit)
    else:
        yield Paragraph(
            "Sizes, duplicates and labels were not recorded: no run of prepare_data or train on these data has a manifest.json."
        )
    yield Paragraph(say_overlap(content.selection))
    if audit.overlap:
        yield tables.overlap(audit)


def _provenance(content: ReportData) -> Iterator[Block]:
    """Commands, versions and runs."""
    commands = dict.fromkeys(origin.command for origin in content.provenance if origin.command)
    yield from map(Code, commands)
    if versions := list(_describe_versions(content)):
        yield Collapsible("Versions and hardware", [BulletList(versions)])
    yield Collapsible(_count(len(content.provenance), "run"), [tables.runs(content)])


def _describe_versions(content: ReportData) -> Iterator[str]:
    """Each version and machine once; several where the runs differ."""
    versions: dict[str, dict[str, None]] = {}
    for origin in content.provenance:
        environment = origin.environment
        flat = {
            "python": environment.get("python"),
            "platform": environment.get("platform"),
            **environment.get("packages", {}),
            **environment.get("hardware", {}),
        }
        for name, value in flat.items():
            if value is not None:
                versions.setdefault(name, {})[str(value)] = None
    yield from (f"{name}: {' or '.join(values)}" for name, values in versions.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
