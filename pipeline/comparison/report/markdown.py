"""The report as Markdown: the same sections as `report.html`, with a picture in place of a chart where there is one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tabulate import tabulate

from pipeline.comparison.report.blocks import (
    Block,
    BulletList,
    Cell,
    Charts,
    Code,
    Collapsible,
    Conclusion,
    Paragraph,
    Section,
    Table,
)
from pipeline.comparison.report.sections import headline, list_sections
from pipeline.comparison.report.tables import ReportData
from pipeline.errors import printable

_SPECIAL = re.compile(r"[\\`*|<&]|(?<=\])\(|(?<=!)\[")
"""What would not be read as it stands: emphasis, code, HTML, the bars of tables, links. An underscore in a name would be."""


def render_markdown(content: ReportData, pictures: Collection[str]) -> str:
    """`results.md`.

    Args:
        pictures: Names of those that lie beside it.
    """
    left = dict.fromkeys(pictures)
    found = headline(content)
    lines = [f"# Results: {as_plain(content.title)}", "", f"**{as_plain(found.answer)}**", ""]
    lines += [
        as_plain(" ".join(found.sure)),
        "",
        *(f"- **{as_plain(name)}** {as_plain(said)}" for name, said in found.costs),
        *([""] if found.costs else []),
    ]
    for section in list_sections(content):
        lines += _render_section(section, left)
    if left:  # those that no section shows
        lines += ["## Pictures", "", *(_picture(name) for name in left)]
    return "\n".join(lines).rstrip() + "\n"


def _render_section(section: Section, pictures: dict[str, None]) -> Iterator[str]:
    body = [line for block in section.blocks for line in _render_block(block, pictures)]
    if body:  # not of charts alone whose picture is missing
        yield from (f"## {section.title}", "", *body)


def _render_block(block: Block, pictures: dict[str, None]) -> Iterator[str]:
    """The lines of a block and an empty one; a picture that it shows is taken out of `pictures`."""
    match block:
        case Paragraph(text):
            yield as_plain(text)
        case Conclusion(paragraphs):
            yield "\n\n".join(map(as_plain, paragraphs))
        case BulletList(lines):
            yield from (f"- {as_plain(line)}" for line in lines)
        case Code(text):
            fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
            yield from (fence, "\n".join(map(printable, text.split("\n"))), fence)
        case Collapsible(summary, blocks):
            if body := [line for inner in blocks for line in _render_block(inner, pictures)]:
                yield from (f"### {as_plain(summary)}", "", *body)
            return
        case Charts(picture=picture):
            if picture not in pictures:
                return
            del pictures[picture]
            yield _picture(picture)
        case Table():
            yield from (as_plain(block.caption) + ":", "", _render_grid(block))
    yield ""


def _render_grid(grid: Table) -> str:
    align = ["left" if grid.is_text(column) else "right" for column in range(len(grid.headings))]
    rows = [[_render_cell(cell) for cell in row] for row in grid.rows]
    return tabulate(rows, [*map(as_plain, grid.headings)], tablefmt="github", disable_numparse=True, colalign=align)


def _render_cell(cell: Cell) -> str:
    text = f"`{cell.text}`" if cell.kind == "code" and cell.text else as_plain(cell.text)
    return f"[{text}]({cell.link})" if cell.link else text


def as_plain(text: str) -> str:
    """One line that is read as it stands, and that gives a terminal no orders."""
    return _SPECIAL.sub(r"\\\g<0>", printable(" ".join(text.split())))


def _picture(name: str) -> str:
    return f"![{name.replace('_', ' ')}]({name}.png)"
