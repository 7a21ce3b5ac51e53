"""Names from outside, of rows and classes, that mean something to what shows them: pictures, the page, Markdown, a terminal."""

import io
from collections.abc import Callable, Iterator
from html import unescape

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.comparison.pareto import draw_pareto
from pipeline.comparison.plots import draw_all
from pipeline.comparison.report.html import render_page
from pipeline.comparison.report.markdown import render_markdown
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.training_curves import draw_curves
from pipeline.data.plots import draw_token_lengths
from pipeline.evaluation.plots import draw_confusion, draw_label_scores, draw_scores
from pipeline.evaluation.testing.calibration import draw_reliability, reliability

MakeReportData = Callable[..., ReportData]
NAMES = {
    "formula": r"$\frac{1$",
    "unclosed": "a$b",
    "hidden": "_legend_",
    "control": "a\x1b[31mb\x00c\x07",
    "lines": "a\nb",
    "long": "x" * 20_000,
    "words": "long " * 4_000,
    "markup": "<svg onload=x>&lt;",
}


def draw_everything(content: ReportData) -> Iterator[Figure]:
    """Each picture that a name from outside may come into, with all of them."""
    names = list(NAMES.values())
    title = " ".join(names)
    costs = pd.Series(np.arange(1.0, 1 + len(content.table)), content.table.index)
    table = content.table.assign(peak_rss_mb=costs, trainable_percent=costs, train_loss=costs, trainable_params=costs)
    yield from draw_all(table).values()
    yield draw_curves(content.curves)
    yield draw_pareto(content.points, content.statistics)
    gold = np.arange(40) % len(names)
    yield draw_confusion(gold, gold[::-1], names, title)
    f1 = pd.Series(np.linspace(0.3, 0.9, len(names)), names)
    yield draw_label_scores(f1, f1 - 0.1, f1 * 100, title)
    yield draw_scores(gold / 2, gold / 3, title)
    yield draw_reliability(reliability(gold > 2, np.full(40, 0.7)), 0.1, title)
    yield draw_token_lengths({"train": gold}, 64, title)


@pytest.mark.filterwarnings("error:Glyph")
def test_every_picture_is_drawn_and_is_no_larger_than_a_few_screens(make_content: MakeReportData) -> None:
    scores = dict(zip(NAMES.values(), np.linspace(0.6, 0.95, len(NAMES)), strict=True))
    figures = list(draw_everything(make_content(scores, texts=60)))
    assert len(figures) > 8
    for figure in figures:
        figure.savefig(io.BytesIO(), dpi=20)
        assert max(figure.get_size_inches()) < 25


def test_a_legend_has_every_row_by_its_name(make_content: MakeReportData) -> None:
    names = ["_legend_", "$x$", "a$b"]
    [legend] = draw_curves(make_content(dict.fromkeys(names, 0.9)).curves).legends
    assert [text.get_text() for text in legend.get_texts()] == names
    assert not any(text.get_parse_math() for text in legend.get_texts())


@pytest.mark.parametrize("kind", NAMES)
def test_page_and_markdown_show_the_name_and_give_no_orders(make_content: MakeReportData, kind: str) -> None:
    name = NAMES[kind]
    content = make_content({name: 0.9, "lora": 0.6}, title=name, classes=("bad", name))
    page, text = render_page(content), render_markdown(content, [])
    assert "<svg onload" not in page
    assert name.split("\n")[0] in unescape(page)
    assert not {"\x1b", "\x00", "\x07"} & {*text}
    assert len(text.split("## Results")[0].splitlines()) == len(
        render_markdown(make_content({"full": 0.9, "lora": 0.6}), []).split("## Results")[0].splitlines()
    )
