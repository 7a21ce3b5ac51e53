"""Charts as inline SVG: marks that can be hovered and focused, in the colours of the page's theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TypeVar
from unicodedata import east_asian_width

from pipeline.comparison.plots import color_number, dash_number, shape_of

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 14, 46
_LETTER = 6.2  # width of a name's letter, about
_CORNERS = {
    "square": ((-5, -5), (5, -5), (5, 5), (-5, 5)),
    "triangle": ((0, -6), (6, 5), (-6, 5)),
    "diamond": ((0, -6.5), (6.5, 0), (0, 6.5), (-6.5, 0)),
}
_RADIUS = 5  # of a circle; the other shapes are about as large
_ON_LINE = 0.7  # of that size
_KEY = '<line x1="1" y1="6" x2="21" y2="6"/>'


@dataclass(frozen=True)
class Mark:
    """A point with its uncertainty."""

    row: int
    """Number in the results table, which colour and shape follow in every chart."""
    name: str
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    note: str = ""
    """What is said besides, such as that another one is better and cheaper."""
    hollow: bool = False
    apart: bool = False
    """Whether it did not learn: it leaves the axes to the others, and stands at their edge where it is beyond."""


@dataclass(frozen=True)
class Line:
    """A curve."""

    row: int
    """Number in the results table, which the colour follows in every chart."""
    name: str
    points: Sequence[tuple[float, float]]
    apart: bool = False
    """As of a mark."""


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence."""

    confidence: float
    accuracy: float
    texts: int


_Shown = TypeVar("_Shown", Mark, Line)


@dataclass(frozen=True)
class _Area:
    """How large a drawing is, in pixels, with room for the ticks' labels inside."""

    name: str
    """Its class in the page's style."""
    width: int
    height: int
    ticks: int
    """At most so many on an axis."""

    @property
    def across(self) -> tuple[float, float]:
        """Where the horizontal axis starts and ends."""
        return _LEFT, self.width - _RIGHT

    @property
    def up(self) -> tuple[float, float]:
        """Where the vertical axis starts, at the bottom, and ends."""
        return self.height - _BOTTOM, _TOP


_WIDE, _NARROW, _SMALL = _Area("wide", 640, 340, 6), _Area("narrow", 350, 320, 4), _Area("small", 340, 300, 6)
"""Of the first two the page shows what fits the window."""


def draw_scatter(marks: Sequence[Mark], x_title: str, y_title: str, label: str) -> str:
    """Points with error bars; the horizontal axis is logarithmic where the values span more than a factor of thirty.

    Args:
        label: What a screen reader says of the whole chart.
    """
    xs = [value for mark in marks for value in (mark.x_low, mark.x, mark.x_high)]
    logarithmic = min(xs) > 0 and max(xs) / min(xs) > 30
    ys = [value for mark in _that_set_axes(marks) for value in (mark.y_low, mark.y_high)]
    scale = " (log scale)" if logarithmic else ""

    def draw(area: _Area) -> str:
        horizontal = _Axis.over(xs, *area.across, area.ticks, logarithmic)
        vertical = _Axis.over(ys, *area.up, area.ticks)
        names = _place_names([(mark.name, horizontal.place(mark.x), vertical.place(mark.y)) for mark in marks], area)
        body = "".join(_draw_mark(mark, name, horizontal, vertical) for mark, name in zip(marks, names, strict=True))
        return _svg(area, _frame(area, horizontal, vertical, x_title + scale, y_title) + body, label)

    return draw(_WIDE) + draw(_NARROW)


def draw_lines(lines: Sequence[Line], x_title: str, y_title: str, label: str) -> str:
    """Curves with a mark at every value; the horizontal axis begins at 0 and is marked at whole numbers."""
    xs = [0.0, *(x for line in lines for x, _ in line.points)]
    ys = [y for line in _that_set_axes(lines) for _, y in line.points]

    def draw(area: _Area) -> str:
        horizontal = _Axis.over(xs, *area.across, area.ticks, margin=0, whole=max(xs) >= 1)
        vertical = _Axis.over(ys, *area.up, area.ticks)
        body = "".join(_draw_line(line, _say_points(line, x_title, y_title), horizontal, vertical) for line in lines)
        return _svg(area, _frame(area, horizontal, vertical, x_title, y_title) + body, label)

    return draw(_WIDE) + draw(_NARROW)


def draw_measured(series: Sequence[Sequence[Mark]], at: Sequence[float], x_title: str, y_title: str, label: str) -> str:
    """Points with error bars, those of a row joined by a line that says nothing between them; marked at the measured values.

    Args:
        series: The points of each row.
        at: Where all of them lie, on a logarithmic axis.
    """
    marks = [mark for points in series for mark in points]
    ys = [value for mark in _that_set_axes(marks) for value in (mark.y_low, mark.y_high)]

    def draw(area: _Area) -> str:
        across = _Axis.over([*at, *(mark.x for mark in marks)], *area.across, area.ticks, logarithmic=True)
        horizontal, vertical = replace(across, ticks=list(at)), _Axis.over(ys, *area.up, area.ticks)
        body = ""
        for points in series:
            path = " ".join(f"{horizontal.place(mark.x)},{vertical.place(mark.y)}" for mark in points if not mark.hollow)
            dots = "".join(_draw_mark(mark, None, horizontal, vertical) for mark in points)
            row = points[0].row
            body += f'<g class="series {_color(row)}" data-series="{row}"><polyline points="{path}"/>{dots}</g>'
        return _svg(area, _frame(area, horizontal, vertical, f"{x_title} (log scale)", y_title) + body, label)

    return draw(_WIDE) + draw(_NARROW)


def _that_set_axes(shown: Sequence[_Shown]) -> Sequence[_Shown]:
    """Those that learned, if any did."""
    return [series for series in shown if not series.apart] or shown


def draw_reliability(bins: Sequence[Bin], number: int, label: str, of_sets: bool = False) -> str:
    """Accuracy against confidence, and the line on which a model is right as often as it says.

    Args:
        number: The row's, which its colour follows.
        of_sets: Whether it is the share of texts that have a label against its probability.
    """
    x_title, y_title = ("probability", "share that is true") if of_sets else ("confidence", "accuracy")
    horizontal, vertical = (_Axis.over([0.0, 1.0], *ends, _SMALL.ticks, margin=0) for ends in (_SMALL.across, _SMALL.up))
    points = [(bin_.confidence, bin_.accuracy) for bin_ in bins]
    form = "true of {0:.1%} of {1:,} labels of {2:.1%}" if of_sets else "right in {0:.1%} of {1:,} answers given with {2:.1%}"
    said = [form.format(bin_.accuracy, bin_.texts, bin_.confidence) for bin_ in bins]
    (left, right), (bottom, top) = _SMALL.across, _SMALL.up
    diagonal = f'<line class="diagonal" x1="{left}" y1="{bottom}" x2="{right}" y2="{top}" aria-hidden="true"/>'
    body = diagonal + _draw_line(Line(number, "", points), said, horizontal, vertical)
    return _svg(_SMALL, _frame(_SMALL, horizontal, vertical, x_title, y_title) + body, label)


def legend(shown: Iterable[Mark | Line]) -> str:
    """Names with their marks or lines; pointing at one or focusing it brings it forward in the chart."""
    items = "".join(
        f'<button type="button" data-series="{series.row}" aria-pressed="false">'
        f'<svg class="{_color(series.row)}" width="22" height="12" aria-hidden="true">'
        f"{_KEY if isinstance(series, Line) else ''}{_draw_point(series, 11, 6, _ON_LINE)}</svg>{escape(series.name)}"
        f"{' (did not learn)' if series.apart else ''}</button>"
        for series in shown
    )
    return f'<div class="legend" role="toolbar" aria-label="Rows">{items}</div>'


@dataclass(frozen=True)
class _Axis:
    """Values on a line of the picture."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool
    ticks: Sequence[float]

    @classmethod
    def over(
        cls,
        values: Sequence[float],
        start: float,
        end: float,
        most: int,
        logarithmic: bool = False,
        margin: float = 0.06,
        whole: bool = False,
    ) -> _Axis:
        """An axis that holds all values, with some room around them.

        Args:
            most: About so many ticks.
            whole: Whether they are whole numbers.
        """
        from matplotlib.ticker import LogLocator, MaxNLocator

        raised: Callable[[float], float] = math.log10 if logarithmic else float
        low, high = raised(min(values)), raised(max(values))
        room = margin * (high - low) or (abs(low) * 0.05 or 0.5 if high == low else 0.0)
        low, high = low - room, high + room
        if logarithmic:
            ticks = [
                tick for tick in LogLocator(numticks=most).tick_values(10**low, 10**high) if low <= math.log10(tick) <= high
            ]
            if len(ticks) < 2:
                ticks = [10**low, 10**high]
        else:
            ticks = [tick for tick in MaxNLocator(most, integer=whole).tick_values(low, high) if low <= tick <= high]
        return cls(low, high, start, end, logarithmic, [float(tick) for tick in ticks])

    def place(self, value: float) -> float:
        """Where a value stands, in pixels; at the end of the axis if it lies beyond."""
        raised = math.log10(value) if self.logarithmic else value
        share = min(1.0, max(0.0, (raised - self.low) / (self.high - self.low)))
        return round(self.start + share * (self.end - self.start), 1)


def _frame(area: _Area, horizontal: _Axis, vertical: _Axis, x_title: str, y_title: str) -> str:
    (left, right), (bottom, top) = area.across, area.up
    center, middle = (left + right) / 2, (bottom + top) / 2
    parts = []
    for tick in vertical.ticks:
        y = vertical.place(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{_short(tick)}</text>')
    for tick in horizontal.ticks:
        x = horizontal.place(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{_short(tick)}</text>')
    parts.append(f'<text class="title" x="{center}" y="{area.height - 6}" text-anchor="middle">{escape(x_title)}</text>')
    turned = f'transform="rotate(-90 14 {middle})"'
    parts.append(f'<text class="title" x="14" y="{middle}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return f'<g aria-hidden="true">{"".join(parts)}</g>'


def _place_names(marks: Sequence[tuple[str, float, float]], area: _Area) -> list[tuple[float, float] | None]:
    """Where each mark's name begins so that none covers another name or mark; None where there is no room for it."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in marks]
    places: list[tuple[float, float] | None] = []
    for name, x, y in marks:
        width = _LETTER * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in name)
        corners = [(x + 8, y - 7), (x + 8, y + 15), (x - 8 - width, y - 7), (x - 8 - width, y + 15)]
        boxes = [(left, base - 10, left + width, base + 2) for left, base in corners]
        free = [
            (corner, box)
            for corner, box in zip(corners, boxes, strict=True)
            if box[0] >= area.across[0]
            and box[2] <= area.across[1]
            and box[1] >= 0
            and box[3] <= area.up[0]
            and not any(_overlap(box, other) for other in taken)
        ]
        places.append(free[0][0] if free else None)
        taken += [free[0][1]] if free else []
    return places


def _overlap(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _draw_mark(mark: Mark, name: tuple[float, float] | None, horizontal: _Axis, vertical: _Axis) -> str:
    x, y = horizontal.place(mark.x), vertical.place(mark.y)
    bars = (
        f'<line x1="{x}" x2="{x}" y1="{vertical.place(mark.y_low)}" y2="{vertical.place(mark.y_high)}"/>'
        f'<line x1="{horizontal.place(mark.x_low)}" x2="{horizontal.place(mark.x_high)}" y1="{y}" y2="{y}"/>'
    )
    said = f"{mark.name}: {mark.y:.4f} ({mark.y_low:.4f} to {mark.y_high:.4f}) at {_short(mark.x)}" + (
        f"; {mark.note}" if mark.note else ""
    )
    hollow = " hollow" if mark.hollow else " apart" if mark.apart else ""
    written = f'<text class="name" x="{name[0]:.1f}" y="{name[1]:.1f}">{escape(mark.name)}</text>' if name else ""
    return (
        f'<g class="mark {_color(mark.row)}{hollow}" data-series="{mark.row}" tabindex="0" role="img" '
        f'aria-label="{escape(said)}">'
        f"<title>{escape(said)}</title>{bars}{_draw_point(mark, x, y)}{written}</g>"
    )


def _draw_point(of: Mark | Line, x: float, y: float, size: float = 1.0) -> str:
    """The row's mark; a cross of one that did not learn."""
    if of.apart:
        reach = _RADIUS * size
        return (
            f'<path class="point" d="M{x - reach:.1f} {y - reach:.1f}L{x + reach:.1f} {y + reach:.1f}'
            f'M{x - reach:.1f} {y + reach:.1f}L{x + reach:.1f} {y - reach:.1f}"/>'
        )
    around = _CORNERS.get(shape_of(of.row))
    if around is None:
        return f'<circle class="point" cx="{x}" cy="{y}" r="{_RADIUS * size:g}"/>'
    corners = " ".join(f"{x + size * right:.1f},{y + size * down:.1f}" for right, down in around)
    return f'<polygon class="point" points="{corners}"/>'


def _draw_line(line: Line, saying: Sequence[str], horizontal: _Axis, vertical: _Axis) -> str:
    places = [(horizontal.place(x), vertical.place(y)) for x, y in line.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(
        f'<g class="mark" tabindex="0" role="img" aria-label="{escape(said)}"><title>{escape(said)}</title>'
        f"{_draw_point(line, x, y, _ON_LINE)}</g>"
        for (x, y), said in zip(places, saying, strict=True)
    )
    classes = f"series {_color(line.row)}{' apart' if line.apart else ''}"
    return f'<g class="{classes}" data-series="{line.row}"><polyline points="{path}"/>{dots}</g>'


def _say_points(line: Line, x_title: str, y_title: str) -> list[str]:
    return [f"{line.name}: {y_title} {y:.4f} at {x_title} {_short(x)}" for x, y in line.points]


def _svg(area: _Area, body: str, label: str) -> str:
    box = f"0 0 {area.width} {area.height}"
    return f'<svg class="chart {area.name}" viewBox="{box}" role="group" aria-label="{escape(label)}">{body}</svg>'


def _color(number: int) -> str:
    dashes = dash_number(number)
    return f"c{color_number(number)}{f' dash{dashes}' if dashes else ''}"


def _short(value: float) -> str:
    """A number in few characters: 22,700,000 -> 22.7M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scale = 1e3 if unit == "k" else size
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
