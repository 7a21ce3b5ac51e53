"""The report's charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.comparison.pareto import Cost, Point
from pipeline.comparison.report.blocks import Chart
from pipeline.comparison.report.charts import Bin, Line, Mark, draw_lines, draw_reliability, draw_scatter, legend
from pipeline.comparison.report.content import Content


def draw_costs(content: Content) -> list[Chart]:
    """Quality against each cost, a chart per cost and setting."""
    return [
        Chart(_draw_cost(cost, points, content.names, setting), f"{cost.title}{f'; {setting}' if setting else ''}")
        for cost, mine in content.points.items()
        for setting, points in _by_setting(mine).items()
    ]


def draw_learning(content: Content) -> list[Chart]:
    """Validation scores and loss by epoch, a chart each."""
    charts = []
    for metric in content.curves[0].points:
        lines = [
            Line(content.names.index(curve.name), curve.name, list(curve.points[metric].items()))
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
        charts.append(Chart(draw_reliability(bins, number, label), f"{name}, ECE {certainty[name]:.3f}"))
    return charts


def _draw_cost(cost: Cost, points: Sequence[Point], names: Sequence[str], setting: str) -> str:
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
            note=_describe_rank(point, names),
            hollow=bool(point.dominated_by),
        )
        for point in points
    ]
    label = f"macro F1 against {cost.title}{f' ({setting})' if setting else ''}, a mark a row"
    return draw_scatter(marks, cost.title, "test macro F1", label) + legend(marks)


def _describe_rank(point: Point, names: Sequence[str]) -> str:
    if point.dominated_by:
        return f"dominated by {', '.join(names[row] for row in point.dominated_by)}"
    return "on the front" if point.on_front else ""


def _by_setting(points: Iterable[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.setting, []).append(point)
    return found
