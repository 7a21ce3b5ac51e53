"""The results table with what must be said about it, as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from pipeline.comparison.selection import Selection
from pipeline.comparison.table import headline, render_table
from pipeline.data.overlap import warn_of_overlap
from pipeline.evaluation.metrics import smallest_gap


def remarks(table: pd.DataFrame, selection: Selection) -> Iterator[str]:
    """What a reader must know before drawing conclusions."""
    fingerprint = selection.kept[0].tags["data_fingerprint"]
    yield f"All rows were tested on the same examples (data fingerprint {fingerprint[:12]})."
    yield from overlap_warnings(selection)
    if (table["tuned"] == "untuned").all():
        yield "untuned: hyperparameters were fixed beforehand, not searched with an equal budget."
    elif table["tuned"].nunique() > 1:
        yield "The rows were not tuned with the same budget, so their ranking is not fair."
    yield describe_chance(table, selection)
    for line in selection.left_out:
        yield f"Left out: {line}."


def describe_chance(table: pd.DataFrame, selection: Selection) -> str:
    """How small a difference the test can show at all."""
    seeds = "one seed" if (table["seeds"] == 1).any() else f"{table['seeds'].min()} seeds"
    examples = selection.kept[0].metrics.get("test/examples")
    if not examples:
        return f"{seeds.capitalize()}: differences of a point or two may be chance."
    if headline(table) != "f1_macro":
        return f"{int(examples):,} test examples, {seeds}: differences of one or two hundredths may be chance."
    gap = 100 * smallest_gap(int(examples))
    return (
        f"{int(examples):,} test texts, {seeds}: differences below {gap:.1f} points cannot be told from chance (80 % power at "
        "the 5 % level, where one text in twenty is judged differently)."
    )


def overlap_warnings(selection: Selection) -> list[str]:
    """That test overlaps train, once, where it does."""
    return list(dict.fromkeys(warning for run in selection.kept if (warning := warn_of_overlap(run.metrics))))


def render_markdown(table: pd.DataFrame, selection: Selection, title: str, pictures: Sequence[str]) -> str:
    """`results.md`."""
    lines = [f"# Results: {title}", "", render_table(table, "github"), ""]
    lines += [f"- {remark}" for remark in remarks(table, selection)]
    lines += [""] + [f"![{name.replace('_', ' ')}]({name}.png)" for name in pictures]
    return "\n".join(lines) + "\n"


def render_html(table: pd.DataFrame, selection: Selection, title: str, images: Mapping[str, bytes]) -> str:
    """`report.html`: opens from disk, fetches nothing."""
    listed = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks(table, selection))
    pictures = "".join(
        f'<img alt="{html.escape(name.replace("_", " "))}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        for name, data in images.items()
    )
    body = render_table(table, "html")
    return _PAGE.format(title=html.escape(title), table=body, remarks=listed, pictures=pictures)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Results: {title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
th, td {{ padding: .35rem .7rem; border-bottom: 1px solid #ddd; white-space: nowrap; }}
th {{ border-bottom-width: 2px; text-align: left; }}
img {{ max-width: 100%; display: block; margin: 1.5rem 0; background: #fff; }}
</style></head>
<body><h1>Results: {title}</h1><div class="table">{table}</div><ul>{remarks}</ul>{pictures}</body></html>
"""
