"""The report's charts."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.comparison.pareto import Cost, Point, by_setting
from pipeline.comparison.report.blocks import Chart
from pipeline.comparison.report.charts import Bin, Line, Mark, draw_lines, draw_reliability, draw_scatter, legend
from pipeline.comparison.report.content import Content


def draw_costs(content: Content) -> list[Chart]:
    """Quality against each cost, a chart per cost and setting."""
    return [
        Chart(_draw_cost(cost, points, content, setting), f"{cost.title}{f'; {setting}' if setting else ''}")
        for cost, mine in content.points.items()
        for setting, points in by_setting(mine).items()
    ]


def draw_learning(content: Content) -> list[Chart]:
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


def draw_calibration(content: Content) -> list[Chart]:
    """Accuracy against confidence, a chart a row."""
    certainty = content.breakdown.certainty.set_index("row")["ece"]
    charts = []
    for name, table in content.breakdown.reliability.groupby("row", sort=False):
        bins = [Bin(*found) for found in table[["confidence", "accuracy", "texts"]].itertuples(index=False)]
        label = f"{name}: accuracy against confidence"
        number = content.names.index(str(name))
        error = f"ECE {certainty[name]:.3f}{', did not learn' if number in content.statistics.apart else ''}"
        charts.append(Chart(draw_reliability(bins, number, label), f"{name}, {error}"))
    return charts


def _draw_cost(cost: Cost, points: Sequence[Point], content: Content, setting: str) -> str:
    names, rows = content.names, content.statistics.rows
    marks = [
        Mark(
            row=point.row,
            name=names[point.row],
            x=point.cost.value,
            y=point.f1_macro.value,
            x_low=point.cost.low,
            x_high=point.cost.high,
            y_low=point.f1_macro.low,
            y_high=point.f1_macro.high,
            note="did not learn" if rows[point.row].learned_nothing else _describe_rank(point, names),
            hollow=bool(point.dominated_by),
            apart=rows[point.row].learned_nothing,
        )
        for point in points
    ]
    label = f"macro F1 against {cost.title}{f' ({setting})' if setting else ''}, a mark a row"
    return draw_scatter(marks, cost.title, "test macro F1", label) + legend(marks)


def _describe_rank(point: Point, names: Sequence[str]) -> str:
    if point.dominated_by:
        return f"dominated by {', '.join(names[row] for row in point.dominated_by)}"
    return "on the front" if point.on_front else ""
