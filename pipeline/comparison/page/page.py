"""The report as one HTML file."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template

from pipeline.comparison.page.html import anchor, render_section
from pipeline.comparison.palette import style_sheet
from pipeline.comparison.report.content import Content
from pipeline.comparison.report.sections import list_sections, verdict


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
    return (resources.files("pipeline.comparison.page") / name).read_text(encoding="utf-8")
