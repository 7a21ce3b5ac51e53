"""report.html: what stands in it."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.breakdown import break_down, hardest_examples
from pipeline.comparison.data_audit import DataAudit
from pipeline.comparison.learning_curve.curve import LearningCurve, compare_at_sizes
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.report import tables
from pipeline.comparison.report.html import render_page
from pipeline.comparison.report.svg_charts import Line, Mark, draw_lines, draw_scatter, legend
from pipeline.comparison.report.tables import Provenance, ReportData
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import build_table
from pipeline.evaluation.metrics.macro import F1
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
MakeReportData = Callable[..., ReportData]
VOID = {"meta", "br", "img", "link", "input"}


class Checker(HTMLParser):
    """Holds that every element is closed, and gathers attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def test_every_section_is_there_and_well_formed(content: ReportData) -> None:
    found = check(render_page(content))
    assert found.headings == [
        *("Results", "What quality costs", "Where it is right and how sure it is", "Training curves", "Every pair"),
        *("Confusion matrices", "Hardest examples", "Data", "How this was made"),
    ]


def test_it_fetches_nothing_and_links_to_the_runs_only(content: ReportData) -> None:
    text = render_page(content)
    found = [value for _, name, value in check(text).attributes if name in ("src", "href")]
    inside = [value.removeprefix("#") for value in found if value.startswith("#")]
    assert {*inside} == {value for _, name, value in check(text).attributes if name == "id"}
    outside = [value for value in found if not value.startswith("#")]
    assert len(outside) == len(content.provenance)
    assert all(value.startswith("http://127.0.0.1:5000/#/experiments/") for value in outside)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_every_link_within_a_report_leads_somewhere_with_a_learning_curve_too(
    content: ReportData, make_run: MakeRun, record: Callable[..., RecordedPredictions]
) -> None:
    runs = [
        make_run(name, 0.8, params={"train_size": str(size)}, metrics={"data/train_examples": float(size)})
        for name in ("full", "lora")
        for size in (32, 2048)
    ]
    sizes = compare_at_sizes(Selection(tuple(runs), ()), record(runs, [0.8] * 4), None)
    with_curve = dataclasses.replace(content, curve=LearningCurve(sizes, metric=F1))
    for shown, title in ((content, "Results"), (with_curve, "Results of 2,048 labelled texts")):
        found = check(render_page(shown))
        ids = [value for _, name, value in found.attributes if name == "id"]
        inside = {value[1:] for _, name, value in found.attributes if name == "href" and value.startswith("#")}
        assert title in found.headings
        assert len(ids) == len(set(ids)) > 5
        assert "results" in inside
        assert inside <= set(ids)


def test_every_value_to_sort_by_is_a_number_for_javascript(content: ReportData) -> None:
    odd = {"max_train_samples": ["200", "all", "all"], "train_loss": [math.inf, -math.inf, math.nan]}
    text = render_page(dataclasses.replace(content, table=content.table.assign(**odd)))
    values = [value for _, name, value in check(text).attributes if name == "data-value"]
    number = re.compile(r"-?(Infinity|\d+(\.\d+)?(e[-+]?\d+)?)|")
    assert [value for value in values if not number.fullmatch(value)] == []
    assert (values.count("Infinity"), values.count("-Infinity"), "" in values) == (3, 1, True)


def test_what_comes_from_outside_is_escaped(content: ReportData) -> None:
    text = render_page(content)
    assert text.count("<script>") == 1, "our own"
    assert "&lt;script&gt;alert" in text
    assert "$title{braces}" in text, "left as it is"


@pytest.mark.parametrize("name", ['"><b onclick=x>', "{{ 7 * 7 }}", "{% raw %}", "a' b=c"])
def test_a_name_is_neither_markup_nor_template(make_content: MakeReportData, name: str) -> None:
    harmless, hostile = (render_page(make_content({"full": 0.9}, classes=("bad", shown))) for shown in ("good", name))
    named = [[attribute[:2] for attribute in check(text).attributes] for text in (harmless, hostile)]
    assert named[0] == named[1]
    assert name in unescape(hostile)


def test_marks_can_be_reached_by_keyboard_and_say_what_they_are(content: ReportData) -> None:
    found = check(render_page(content))
    marks = [value for tag, name, value in found.attributes if (tag, name) == ("g", "aria-label")]
    assert any(value.startswith("full: 0.") for value in marks)
    assert any("dominated by" in value for value in marks), "head_only costs more memory and is worse"
    focusable = sum(1 for tag, name, _ in found.attributes if (tag, name) == ("g", "tabindex"))
    assert focusable == len(marks) > 0


def test_the_answer_comes_first_then_the_table_then_the_verdict_which_is_not_said_twice(content: ReportData) -> None:
    text = render_page(content)
    sentence = re.search(r'class="verdict" role="note" aria-label="Verdict"><p>(.*?)</p>', text)
    assert sentence is not None
    assert text.count(sentence.group(1)) == 1
    places = ["<h1>Use full", "<dt>How sure", "<dt>At what cost", "<h2>Results", "<table", sentence.group(1)]
    assert [text.index(place) for place in places] == sorted(text.index(place) for place in places)


def test_one_row_without_predictions_is_a_page_too(make_run: MakeRun) -> None:
    run = make_run("full")
    table = build_table([run])
    recorded = RecordedPredictions((), np.empty(0, np.int64), [], {}, {}, {run.run_id: "gone"})
    statistics = compute_statistics(table, [run], recorded)
    selection, hardest = Selection((run,), ()), hardest_examples(recorded)
    found, provenance = break_down(recorded, {"full": [run.run_id]}), [Provenance(run, "", {})]
    content = ReportData("x", table, selection, statistics, [], {}, recorded, hardest, provenance, found, DataAudit())
    text = render_page(content)
    assert check(text).headings == ["Results", "Data", "How this was made"]
    assert "Whether test overlaps train was not measured." in text
    assert "no run of prepare_data or train on these data has a manifest.json" in text


def test_names_do_not_cover_one_another() -> None:
    marks = [Mark(number, f"row {number}", 1.0, 0.5 + number / 1e4, 1.0, 1.0, 0.4, 0.6) for number in range(30)]
    text = draw_scatter(marks, "x", "y", "label")
    places = [(float(x), float(y)) for x, y in re.findall(r'class="name" x="([-\d.]+)" y="([-\d.]+)"', text)]
    assert 1 <= len(places) < 30
    apart = [abs(a[0] - b[0]) > 30 or abs(a[1] - b[1]) >= 11 for a in places for b in places if a is not b]
    assert all(apart)


def test_single_and_equal_values_have_a_place() -> None:
    for text in (
        draw_scatter([Mark(0, "a", 5.0, 0.5, 5.0, 5.0, 0.5, 0.5)], "x", "y", "label"),
        draw_scatter([Mark(0, "a", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)], "x", "y", "label"),
        draw_scatter([Mark(i + 3, str(i), 10.0**i, 0.5, 10.0**i, 10.0**i, 0.4, 0.6) for i in (-3, 2, 7)], "x", "y", "label"),
        draw_lines([Line(0, "a", [(1.0, 0.5)])], "x", "y", "label"),
    ):
        assert "nan" not in text
        assert "inf" not in text


def test_scores_come_right_after_the_names_then_costs_and_then_settings(content: ReportData) -> None:
    grid = tables.results(content)
    assert grid.headings[:4] == ["name", "macro F1", "95 % interval", "group"]
    order = [grid.headings.index(name) for name in ("ECE", "trainable %", "train s", "RSS MB", "artifact MB", "rate")]
    assert order == sorted(order)
    assert not {"strategy", "entry"} & {*grid.headings}, "the name says it"
    assert '<th scope="row" class="text">full</th>' in render_page(content)


def test_a_strategy_stands_beside_names_that_are_others(content: ReportData) -> None:
    table = content.table.assign(strategy=["partial", "lora", "head_only"])
    assert "strategy" in tables.results(dataclasses.replace(content, table=table)).headings


def test_rates_sort_as_numbers_unless_one_is_none(content: ReportData) -> None:
    def values(*rates: str) -> list[float | None]:
        grid = tables.results(dataclasses.replace(content, table=content.table.assign(learning_rate=rates)))
        return [row[grid.headings.index("rate")].value for row in grid.rows]

    assert values("0.000175", "1e-05", "") == [0.000175, 1e-05, pytest.approx(float("nan"), nan_ok=True)]
    assert values("0.000175", "1e-05", "auto") == [None, None, None]


def test_no_row_is_called_better_where_they_are_not_to_be_ranked(content: ReportData) -> None:
    selection = dataclasses.replace(content.selection, ranked=False)
    for found, said in ((content, "full is better"), (dataclasses.replace(content, selection=selection), "they differ")):
        assert {row[-1].text for row in tables.pairs(found).rows} >= {said, "no difference shown"}
    assert "is better" not in str(tables.pairs(dataclasses.replace(content, selection=selection)))


def test_of_many_classes_the_hardest_are_shown_and_of_the_data_the_ends(content: ReportData) -> None:
    names = [f"class{number}" for number in range(40)]
    by_class = pd.DataFrame({"row": "full", "class": names, "texts": 10, "f1": np.linspace(0.9, 0.1, 40)})
    many = dataclasses.replace(content, breakdown=dataclasses.replace(content.breakdown, by_class=by_class))
    grid = tables.by_class(many)
    assert grid.headings == ["name", *(f"class{number} (10)" for number in range(39, 27, -1))]
    assert "12 classes of 40 that are hardest" in grid.caption
    counts = [5, *range(10, 49)]
    audit = DataAudit({}, {"classes": names, "rows": {"train": 1000}, "rows_by_class": {"train": counts}})
    [row] = tables.parts(audit).rows
    assert [cell.text for cell in row] == ["train", "1,000", "5 (0%) class0", "48 (5%) class39", "0"]


def test_every_one_of_thirty_two_rows_has_a_colour_and_shape_of_its_own() -> None:
    marks = [Mark(number, f"row {number}", 1.0 + number, 0.5, 1.0, 1.0, 0.4, 0.6) for number in range(32)]
    found = re.findall(
        r'<svg class="(c\d)[^"]*" width="22".*?><(circle|polygon) class="point" (?:points="(.*?)"|cx)', legend(marks)
    )
    assert len(found) == 32
    assert len({*found}) == 32
    assert len({color for color, *_ in found}) == 8
    lines = [Line(number, f"row {number}", [(0.0, 0.5), (2.0, 0.6)]) for number in range(32)]
    drawn = re.findall(r'<g class="series (c\d(?: dash\d)?)"', draw_lines(lines, "x", "y", "label"))
    assert len(drawn) == 64, "for wide windows and for narrow ones"
    assert len({*drawn}) == 32


@pytest.mark.parametrize("apart", [True, False])
def test_what_did_not_learn_leaves_the_axes_to_the_others(apart: bool) -> None:
    points = [(1.0, 0.8), (2.0, 0.82)]
    lines = [Line(0, "full", points), Line(1, "prefix", [(1.0, 0.5), (2.0, 0.5)], apart)]
    text = draw_lines(lines, "epochs", "validation accuracy", "label").split("<svg")[1]
    full, prefix = (
        [float(y) for y in re.findall(r",([\d.]+)", path)] for path in re.findall(r'<polyline points="(.*?)"', text)
    )
    assert (max(full) - min(full) > 200) is apart, "the height that is left to the others"
    assert (prefix == [294.0, 294.0]) is apart, "at the lower end"
    assert "validation accuracy 0.5000" in text, "its figures are said as they are"
    marks = [Mark(0, "full", 5.0, 0.8, 5.0, 5.0, 0.78, 0.82), Mark(1, "prefix", 1.0, 0.3, 1.0, 1.0, 0.3, 0.3, apart=apart)]
    text = draw_scatter(marks, "x", "y", "label")
    ticks = [float(tick) for tick in re.findall(r'text-anchor="end">([\d.]+)<', text.split("<svg")[1])]
    assert (min(ticks) > 0.7) is apart
    assert (text.count('<path class="point"') == 2) is apart, "a cross"


def test_epochs_are_whole_on_the_axis_unless_there_is_no_whole_one() -> None:
    def ticks(last: float) -> set[float]:
        text = draw_lines([Line(0, "full", [(last / 3, 0.5), (last, 0.6)])], "epochs", "y", "label")
        return {float(tick) for tick in re.findall(r'text-anchor="middle">([\d.]+)<', text)}

    assert ticks(2) == {0, 1, 2}
    assert ticks(3) == {0, 1, 2, 3}
    assert ticks(30) == {0, 5, 10, 15, 20, 25, 30} | {0, 8, 16, 24}
    assert len(ticks(0.5)) > 2


def test_a_class_with_a_long_name_is_broken(make_content: MakeReportData) -> None:
    text = render_page(make_content({"full": 0.9, "lora": 0.6}, classes=("bad", "x" * 200)))
    assert f'<th scope="col" class="broken">{"x" * 200}</th>' in text
    assert f'<th scope="row" class="text broken">{"x" * 200}</th>' in text
    assert f'<td class="long">{"x" * 200}</td>' in text, "among the hardest examples"


def test_regions_that_scroll_have_names(content: ReportData) -> None:
    text = render_page(content)
    regions = re.findall(r'<div class="scroll" role="region" tabindex="0" aria-label="(.+?)">', text)
    assert len(regions) == text.count("<table")
    assert "Test scores and costs" in regions


def test_the_data_are_described(content: ReportData) -> None:
    text = re.sub("<.*?>", " ", render_page(content))
    text = " ".join(text[text.index("fingerprint:") :].split())
    assert "texts or pairs with more than one label: 6" in text
    assert "dropped rows with missing text: 7" in text
    assert "missing label" not in text
    assert "train 3,200 1,600 (50%) 1,600 (50%) 31" in text
    assert "train and test 5" in text
