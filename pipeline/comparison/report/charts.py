"""The report's charts: what of a comparison each of them shows."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.comparison.learning_curve.curve import LearningCurve, SizeResults
from pipeline.comparison.pareto import Cost, Point, by_setting
from pipeline.comparison.report.blocks import Chart
from pipeline.comparison.report.svg_charts import (
    Bin,
    Line,
    Mark,
    draw_lines,
    draw_measured,
    draw_reliability,
    draw_scatter,
    legend,
)
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.statistics import RowStatistics
from pipeline.evaluation.statistics.intervals import Interval


def draw_costs(content: ReportData) -> list[Chart]:
    """Quality against each cost, a chart per cost and setting."""
    return [
        Chart(_draw_cost(cost, points, content, setting), f"{cost.title}{f'; {setting}' if setting else ''}")
        for cost, mine in content.points.items()
        for setting, points in by_setting(mine).items()
    ]


def draw_training(content: ReportData) -> list[Chart]:
    """Validation scores and loss by epoch, a chart each."""
    charts, names, rows = [], content.names, content.statistics.rows
    for metric in content.curves[0].points:
        lines = [
            Line(row := names.index(curve.name), curve.name, list(curve.points[metric].items()), rows[row].learned_nothing)
            for curve in content.curves
            if curve.points.get(metric)
        ]
        title = f"validation {metric}"
        chart = draw_lines(lines, "epochs", title, f"{title} by epoch, a line a row")
        charts.append(Chart(chart + legend(lines), title))
    return charts


def draw_calibration(content: ReportData) -> list[Chart]:
    """Accuracy against confidence, a chart a row."""
    certainty = content.breakdown.certainty.set_index("row")["ece"]
    charts = []
    for name, table in content.breakdown.reliability.groupby("row", sort=False):
        bins = [Bin(*values) for values in table[["confidence", "accuracy", "texts"]].itertuples(index=False)]
        of_sets = content.recorded.of_sets
        label = f"{name}: {'share that is true against probability' if of_sets else 'accuracy against confidence'}"
        number = content.names.index(str(name))
        error = f"ECE {certainty[name]:.3f}{', did not learn' if number in content.statistics.apart else ''}"
        charts.append(Chart(draw_reliability(bins, number, label, of_sets), f"{name}, {error}"))
    return charts


def _draw_cost(cost: Cost, points: Sequence[Point], content: ReportData, setting: str) -> str:
    names, rows = content.names, content.statistics.rows
    marks = [
        Mark(
            row=point.row,
            name=names[point.row],
            x=point.cost.value,
            y=point.score.value,
            x_low=point.cost.low,
            x_high=point.cost.high,
            y_low=point.score.low,
            y_high=point.score.high,
            note="did not learn" if rows[point.row].learned_nothing else _describe_rank(point, names),
            hollow=bool(point.dominated_by),
            apart=rows[point.row].learned_nothing,
        )
        for point in points
    ]
    metric = content.statistics.metric
    label = f"{metric.label} against {cost.title}{f' ({setting})' if setting else ''}, a mark a row"
    return draw_scatter(marks, cost.title, f"test {metric.directed_title}", label) + legend(marks)


def _describe_rank(point: Point, names: Sequence[str]) -> str:
    if point.dominated_by:
        return f"dominated by {', '.join(names[row] for row in point.dominated_by)}"
    return "on the front" if point.on_front else ""


def draw_learning_curve(curve: LearningCurve) -> Chart:
    """Test scores by number of labelled texts, a line a row; forecasts are hollow."""
    series = []
    for number, name in enumerate(curve.names):
        marks = [_mark(number, name, size, row) for size, row, _ in curve.points(name) if row.score]
        forecasts = [found for found in curve.forecasts if found.name == name and found.score]
        marks += [
            _spread(number, name, found.size, found.score, "forecast, not measured", True) for found in forecasts if found.score
        ]
        series += [marks] if marks else []
    at = sorted({*(size.texts for size in curve.sizes), *(found.size for found in curve.forecasts if found.score)})
    metric = curve.metric
    label = f"{metric.label} by number of labelled texts, a line a row"
    chart = draw_measured(series, at, "labelled texts", f"test {metric.directed_title}", label)
    return Chart(chart + legend(marks[0] for marks in series), f"{metric.label} by number of labelled texts")


def _mark(number: int, name: str, size: SizeResults, row: RowStatistics) -> Mark:
    assert row.score is not None
    note = f"{row.seeds} seed{'s' * (row.seeds > 1)}{'; did not learn' if row.learned_nothing else ''}"
    return _spread(number, name, size.texts, row.score, note, False, row.is_guess)


def _spread(number: int, name: str, texts: int, score: Interval, note: str, hollow: bool, apart: bool = False) -> Mark:
    return Mark(number, name, texts, score.value, texts, texts, score.low, score.high, note, hollow, apart)
