"""Sections as HTML. Whatever is text is escaped here and nowhere else; charts come as HTML."""

from __future__ import annotations

import math
from html import escape
from importlib import resources
from string import Template

from pipeline.comparison.plots import style_sheet
from pipeline.comparison.report.blocks import Block, Cell, Charts, Code, Fold, Grid, Lines, Paragraph, Section
from pipeline.comparison.report.sections import list_sections, verdict
from pipeline.comparison.report.tables import Content

_LONGEST_WORD = 18  # letters; longer ones, of classes or arguments, may be broken
_LONGEST_LINE = 40  # of a field


def render_section(section: Section) -> str:
    """A section below its heading."""
    body = "".join(map(render_block, section.blocks))
    return f'<section id="{anchor(section)}"><h2>{escape(section.title)}</h2>{body}</section>'


def anchor(section: Section) -> str:
    """The section's id in the page."""
    return section.title.lower().replace(" ", "-")


def render_block(block: Block) -> str:
    """One block."""
    match block:
        case Paragraph(text):
            return f'<p class="note">{escape(text)}</p>'
        case Lines(lines):
            return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case Charts(charts):
            figures = (
                f'<figure><div class="scroll">{chart.html}</div><figcaption>{escape(chart.caption)}</figcaption></figure>'
                for chart in charts
            )
            return f'<div class="charts">{"".join(figures)}</div>'
        case Fold(summary, blocks):
            return f"<details><summary>{escape(summary)}</summary>{''.join(map(render_block, blocks))}</details>"
        case Grid():
            return _render_grid(block)


def _render_grid(grid: Grid) -> str:
    """A table, which scrolls by itself where it is wide, by keyboard too."""
    texts = [grid.is_text(column) for column in range(len(grid.headings))]
    head = "".join(
        f'<th scope="col"{_class("text" if is_text else "", _broken(heading))}>{escape(heading)}</th>'
        for heading, is_text in zip(grid.headings, texts, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_render_cell(cell, grid.named and column == 0) for column, cell in enumerate(row))}</tr>"
        for row in grid.rows
    )
    classes = _class(*(["sortable"] if grid.sortable else []), *(["named"] if grid.named else []))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(grid.caption)}"><table{classes}>'
        f"<caption>{escape(grid.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _render_cell(cell: Cell, names_row: bool) -> str:
    text = escape(cell.text)
    if cell.kind == "code" and text:
        text = f"<code>{text}</code>"
    if cell.kind == "long":
        text = text.replace("\n", "<br>")
    if cell.link:
        text = f'<a href="{escape(cell.link)}">{text}</a>'
    if names_row:
        return f'<th scope="row"{_class("text", _broken(cell.text))}>{text}</th>'
    if cell.value is None:
        is_long = cell.kind == "long" or (not cell.kind and len(cell.text) > _LONGEST_LINE)
        return f'<td class="{"long" if is_long else "text"}">{text}</td>'
    number = "" if math.isnan(cell.value) else repr(float(cell.value))
    shade = "" if cell.share is None else f' class="shaded" style="--share:{cell.share:.3f}"'
    return f'<td data-value="{number}"{shade}>{text}</td>'


def _broken(heading: str) -> str:
    """The class of a heading with a word that is too long for a line."""
    return "broken" if max(map(len, heading.split()), default=0) > _LONGEST_WORD else ""


def _class(*names: str) -> str:
    found = " ".join(filter(None, names))
    return f' class="{found}"' if found else ""


def render_page(content: Content) -> str:
    """`report.html`: opens from disk and fetches nothing; style and script are inside."""
    sections = list_sections(content)
    return Template(_read("page.html")).substitute(
        title=f"Results: {escape(content.title)}",
        style=f"{style_sheet()}\n{_read('page.css')}",
        script=_read("page.js"),
        verdict="".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(content)),
        links="".join(f'<li><a href="#{anchor(section)}">{escape(section.title)}</a></li>' for section in sections),
        body="\n".join(map(render_section, sections)),
    )


def _read(name: str) -> str:
    return (resources.files("pipeline.comparison.report") / name).read_text(encoding="utf-8")
