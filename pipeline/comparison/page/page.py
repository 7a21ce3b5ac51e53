"""The report as one HTML file."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template

from pipeline.comparison.page import sections
from pipeline.comparison.page.content import Content

_ORDER = (
    sections.verdict,
    sections.results,
    sections.trade_offs,
    sections.learning_curves,
    sections.pairs,
    sections.confusions,
    sections.hardest,
    sections.audit,
    sections.provenance,
)


def render_page(content: Content) -> str:
    """`report.html`: opens from disk and fetches nothing; style and script are inside."""
    return Template(_read("page.html")).substitute(
        title=f"Results: {escape(content.title)}",
        style=_read("page.css"),
        script=_read("page.js"),
        body="\n".join(section(content) for section in _ORDER),
    )


def _read(name: str) -> str:
    return (resources.files("pipeline.comparison.page") / name).read_text(encoding="utf-8")
