"""The report's sections, each as HTML; empty where there is nothing to show."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.page.charts import Line, Mark, draw_lines, draw_scatter, legend
from pipeline.comparison.page.content import Content, Origin
from pipeline.comparison.pareto import Cost, Point
from pipeline.comparison.report import find_verdict, overlap_warnings, remarks
from pipeline.comparison.table import shown_columns
from pipeline.data.overlap import KINDS
from pipeline.data.pair_overlap import PAIR_KINDS
from pipeline.evaluation.metrics import count_confusions

_MATRIX_CLASSES = 12  # of more, a matrix fits no page
_HARDEST = 20


def verdict(content: Content) -> str:
    """Three sentences that follow from the figures."""
    found = find_verdict(content.table, content.selection, content.statistics)
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.sentences)
    return f'<section class="verdict" aria-label="Verdict">{paragraphs}</section>'


def results(content: Content) -> str:
    """The table, sortable, and what must be said about it."""
    columns = shown_columns(content.table)
    values = [content.table[column.name].tolist() for column in columns]
    rows = [
        [_cell(column.cells[row], None if column.is_text else values[place][row]) for place, column in enumerate(columns)]
        for row in range(len(content.table))
    ]
    headings = [(column.heading, column.is_text) for column in columns]
    said = set(find_verdict(content.table, content.selection, content.statistics).sentences)
    notes = [line for line in remarks(content.table, content.selection, content.statistics) if line not in said]
    listed = "".join(f"<li>{escape(line)}</li>" for line in notes)
    return _section(
        "Results", _table(headings, rows, "Test scores and costs; a heading sorts", sortable=True) + f"<ul>{listed}</ul>"
    )


def trade_offs(content: Content) -> str:
    """Quality against each cost, a chart per cost and setting."""
    if not content.points:
        return ""
    figures = [
        _figure(_draw_cost(cost, points, content.names, setting), f"{cost.title}{f'; {setting}' if setting else ''}")
        for cost, mine in content.points.items()
        for setting, points in _by_setting(mine).items()
    ]
    note = (
        "Bars are 95 % intervals of macro F1, and the range of the cost over seeds. A hollow mark is dominated: another row "
        "costs no more and was shown to be better. Times and memory are compared on the same hardware, precision and batch "
        "size only."
    )
    return _section("What quality costs", f'<p class="note">{note}</p><div class="charts">{"".join(figures)}</div>')


def learning_curves(content: Content) -> str:
    """Validation accuracy and loss by epoch."""
    if not content.curves:
        return ""
    figures = []
    for metric in content.curves[0].points:
        lines = [Line(curve.name, list(curve.points[metric].items())) for curve in content.curves if curve.points.get(metric)]
        title = f"validation {metric}"
        chart = draw_lines(lines, "epochs", title, f"{title} by epoch, a line a row")
        figures.append(_figure(chart + legend(line.name for line in lines), title))
    return _section("Learning curves", f'<div class="charts">{"".join(figures)}</div>')


def pairs(content: Content) -> str:
    """Every pair of rows."""
    if not content.statistics.pairs:
        return ""
    names = content.names
    rows = [
        [
            _cell(names[pair.first], None),
            _cell(names[pair.second], None),
            _cell(f"{100 * pair.f1_macro.value:+.2f}", pair.f1_macro.value),
            _cell(f"{100 * pair.f1_macro.low:+.2f} to {100 * pair.f1_macro.high:+.2f}", pair.f1_macro.low),
            _cell(f"{pair.p_holm:.3g}", pair.p_holm),
            _cell(f"{pair.p_mcnemar_holm:.3g}", pair.p_mcnemar_holm),
            _cell("no difference shown" if pair.better is None else f"{names[pair.better]} is better", None),
        ]
        for pair in content.statistics.pairs
    ]
    headings = [
        ("first", True), ("second", True), ("macro F1, points", False), ("95 % interval", False),
        ("p (Holm)", False), ("McNemar p (Holm)", False), ("so", True),
    ]  # fmt: skip
    body = _table(headings, rows, "First less second, on the same test texts", sortable=True)
    return _section("Every pair", f"<details><summary>{len(rows)} pairs</summary>{body}</details>")


def confusions(content: Content) -> str:
    """A confusion matrix per row of the table, of its first seed."""
    recorded = content.recorded
    if not recorded.classes or not recorded.predicted:
        return ""
    if len(recorded.classes) > _MATRIX_CLASSES:
        text = f"{len(recorded.classes):,} classes are too many for matrices here; the pictures on the runs show them."
        return _section("Confusion matrices", f'<p class="note">{text}</p>')
    classes = np.arange(len(recorded.classes))
    blocks = []
    for name, ids in zip(content.names, content.table["run_ids"], strict=True):
        run_id = next((run_id for run_id in ids.split() if run_id in recorded.predicted), None)
        if run_id is not None:
            counts = count_confusions(recorded.gold, recorded.predicted[run_id], classes)
            blocks.append(f"<details><summary>{escape(name)}</summary>{_matrix(counts, recorded.classes)}</details>")
    return _section("Confusion matrices", "".join(blocks))


def hardest(content: Content) -> str:
    """The texts that most strategies get wrong, and are sure of."""
    table = content.hardest.head(_HARDEST)
    if table.empty:
        return ""
    texts = [name for name in ("sentence", "sentence_pair") if name in table]
    rows = [
        [
            f'<td class="long">{"<br>".join(escape(str(getattr(row, name))) for name in texts)}</td>',
            _cell(str(row.gold), None),
            _cell(str(row.usual_mistake), None),
            _cell(f"{row.wrong_share:.0%}", row.wrong_share),
            _cell(f"{row.confidence:.2f}", row.confidence),
        ]
        for row in table.itertuples()
    ]
    headings = [("text", True), ("label", True), ("mostly taken for", True), ("wrong", False), ("confidence", False)]
    body = _table(
        headings, rows, "Share of the rows that are wrong, and how sure they are; such a label may itself be wrong", True
    )
    return _section("Hardest examples", body)


def audit(content: Content) -> str:
    """How much of the test stands in the training texts, and which data these are."""
    run = content.selection.kept[0]
    shares = {kind: run.metrics.get(f"data/overlap_train_test_{kind}") for kind in (*KINDS, *PAIR_KINDS)}
    rows = [[_cell(kind, None), _cell(f"{share:.2f} %", share)] for kind, share in shares.items() if share is not None]
    facts = {
        "data": run.params.get("dataset", "?"),
        "split": run.params.get("split", "?"),
        "split seed": run.params.get("split_seed", "?"),
        "fingerprint": run.tags.get("data_fingerprint", "?"),
        "test examples": f"{int(run.metrics.get('test/examples', content.statistics.texts)):,}",
    }
    listed = "".join(f"<li>{escape(name)}: <code>{escape(str(value))}</code></li>" for name, value in facts.items())
    warned = "".join(f"<p>{escape(line)}</p>" for line in overlap_warnings(content.selection))
    overlap = _table([("overlap of test with train", True), ("test examples", False)], rows, "By kind") if rows else ""
    return _section("Data", f"<ul>{listed}</ul>{warned}{overlap}")


def provenance(content: Content) -> str:
    """Commands, versions and runs."""
    rows = [_origin_cells(origin) for origin in content.origins]
    headings = [("run", True), ("strategy", True), ("seed", False), ("commit", True), ("make it again", True)]
    table = _table(headings, rows, "The compared runs", sortable=True)
    environments = [origin.environment for origin in content.origins if origin.environment]
    commands = dict.fromkeys(_command(one) for one in environments)
    listed = "".join(f"<pre>{escape(command)}</pre>" for command in commands if command)
    versions = _describe_versions(environments)
    return _section("How this was made", f"{listed}{versions}<details><summary>{len(rows)} runs</summary>{table}</details>")


def _origin_cells(origin: Origin) -> list[str]:
    run = origin.run
    name = f'<a href="{escape(origin.address)}">{escape(run.name)}</a>' if origin.address else escape(run.name)
    again = f"<code>python -m pipeline reproduce --run-id {escape(run.run_id)}</code>" if run.stage != "evaluate" else ""
    seed = run.params.get("seed", "")
    return [
        f'<td class="text">{name}</td>',
        _cell(run.tags.get("strategy", ""), None),
        _cell(seed, float(seed) if seed.isdigit() else None),
        _cell(run.tags.get("git_commit", "")[:12], None),
        f'<td class="text">{again}</td>',
    ]


def _command(environment: Mapping[str, Any]) -> str:
    """The command line that made a run; a study's runs are made by processes of it, and share it."""
    words = environment.get("command") or []
    stage = [str(word) for word in words[1:]]
    return f"python -m pipeline {shlex.join(stage)}" if stage else ""


def _describe_versions(environments: Sequence[Mapping[str, Any]]) -> str:
    """Each version and machine once; several where the runs differ."""
    found: dict[str, dict[str, None]] = {}
    for one in environments:
        flat = {"python": one.get("python"), "platform": one.get("platform"), **one.get("packages", {})}
        flat |= {f"{name}": value for name, value in one.get("hardware", {}).items()}
        for name, value in flat.items():
            if value is not None:
                found.setdefault(name, {})[str(value)] = None
    items = "".join(f"<li>{escape(name)}: {escape(' or '.join(values))}</li>" for name, values in found.items())
    return f"<details><summary>Versions and hardware</summary><ul>{items}</ul></details>" if items else ""


def _draw_cost(cost: Cost, points: Sequence[Point], names: Sequence[str], setting: str) -> str:
    marks = [
        Mark(
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
    return draw_scatter(marks, cost.title, "test macro F1", label) + legend(mark.name for mark in marks)


def _describe_rank(point: Point, names: Sequence[str]) -> str:
    if point.dominated_by:
        return f"dominated by {', '.join(names[row] for row in point.dominated_by)}"
    return "on the front" if point.on_front else ""


def _by_setting(points: Iterable[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.setting, []).append(point)
    return found


def _matrix(counts: Any, classes: Sequence[str]) -> str:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    body = "".join(
        f'<tr><th scope="row" class="text">{escape(name)}</th>'
        + "".join(f'<td style="--share:{share:.3f}">{count:,}</td>' for count, share in zip(mine, row, strict=True))
        + "</tr>"
        for name, mine, row in zip(classes, counts.tolist(), shares.tolist(), strict=True)
    )
    return _scroll(
        '<table class="matrix"><caption>Rows are true classes, columns predicted ones; of the first seed</caption>'
        f'<thead><tr><th class="text">true</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def _table(headings: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], caption: str, sortable: bool = False) -> str:
    """A table; cells come as `<td>` elements. Headings are (text, whether its cells are words)."""
    head = "".join(f'<th scope="col"{_text_class(is_text)}>{escape(heading)}</th>' for heading, is_text in headings)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return _scroll(
        f"<table{kind}><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str, value: Any) -> str:
    """A cell; one with a number sorts by it and stands to the right."""
    if value is None:
        return f'<td class="text">{escape(text)}</td>'
    number = "" if pd.isna(value) else f"{value!r}"
    return f'<td data-value="{escape(str(number))}">{escape(text)}</td>'


def _text_class(is_text: bool) -> str:
    return ' class="text"' if is_text else ""


def _scroll(table: str) -> str:
    """Wide content scrolls by itself, by keyboard too."""
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _figure(body: str, caption: str) -> str:
    return f"<figure>{body}<figcaption>{escape(caption)}</figcaption></figure>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
