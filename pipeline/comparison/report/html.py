"""The report as one HTML page: `page.html` is a Jinja2 template, which escapes all text."""

from __future__ import annotations

from importlib import resources

from pipeline.comparison.plots import style_sheet
from pipeline.comparison.report.sections import headline, list_sections
from pipeline.comparison.report.tables import ReportData


def render_page(content: ReportData) -> str:
    """`report.html`: opens from disk and fetches nothing; style and script are inside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = PackageLoader("pipeline.comparison.report", "")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").render(
        title=content.title,
        headline=headline(content),
        sections=list_sections(content),
        style=f"{style_sheet()}\n{_read('page.css')}",
        script=_read("page.js"),
    )


def _read(name: str) -> str:
    return (resources.files("pipeline.comparison.report") / name).read_text(encoding="utf-8")
