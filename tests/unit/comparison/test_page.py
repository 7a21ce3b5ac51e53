"""report.html: what stands in it, and what a browser makes of it."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.comparison.curves import Curve
from pipeline.comparison.hardest import hardest_examples
from pipeline.comparison.page.charts import Line, Mark, draw_lines, draw_scatter
from pipeline.comparison.page.content import Content, Origin
from pipeline.comparison.page.page import render_page
from pipeline.comparison.pareto import find_points
from pipeline.comparison.recorded import RecordedPredictions
from pipeline.comparison.selection import Selection
from pipeline.comparison.statistics import add_statistics, compute_statistics
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
EVIL = "<script>alert('&')</script>$title{braces}"
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
VOID = {"meta", "br", "img", "link", "input"}


def make_content(make_run: MakeRun, accuracies: dict[str, float], title: str = "a study", texts: int = 400) -> Content:
    """Made-up predictions of two seeds a strategy, right by chance."""
    generator = np.random.default_rng(0)
    costs = {"cost/train_seconds": 10.0, "cost/artifact_mb": 3.0, "data/overlap_train_test_leaking": 12.5}
    runs = [
        make_run(name, accuracy, metrics=costs | {"cost/peak_rss_mb": 100.0 * place}, params={"seed": seed, "dataset": EVIL})
        for place, (name, accuracy) in enumerate(accuracies.items(), start=1)
        for seed in "12"
    ]
    gold = np.arange(texts) % 2
    predicted = {
        run.run_id: np.where(generator.random(texts) < accuracies[run.tags["strategy"]], gold, 1 - gold) for run in runs
    }
    confidence = {run_id: np.full(texts, 0.9) for run_id in predicted}
    said = [f"{EVIL} {number}" for number in range(texts)]
    recorded = RecordedPredictions(said, gold, ["bad", EVIL], predicted, confidence)
    table = build_table(runs)
    statistics = compute_statistics(table, runs, recorded)
    table = add_statistics(table, statistics)
    selection = Selection(tuple(runs), ())
    curves = [Curve(row.name, {"accuracy": {1.0: 0.5, 2.0: 0.6}, "loss": {1.0: 0.7, 2.0: 0.6}}, 2.0) for row in statistics.rows]
    environment = {
        "python": "3.11",
        "packages": {"torch": "2.13.0"},
        "hardware": {"cpu": "X"},
        "command": ["main", "main", "--epochs", "1"],
    }
    origins = [Origin(run, f"http://127.0.0.1:5000/#/experiments/1/runs/{run.run_id}", environment) for run in runs]
    points = find_points(table, runs, statistics)
    return Content(title, table, selection, statistics, curves, points, recorded, hardest_examples(recorded), origins)


@pytest.fixture
def content(make_run: MakeRun) -> Content:
    return make_content(make_run, {"full": 0.9, "lora": 0.88, "head_only": 0.6}, EVIL)


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


def test_every_section_is_there_and_well_formed(content: Content) -> None:
    found = check(render_page(content))
    assert found.headings == [
        *("Results", "What quality costs", "Learning curves", "Every pair", "Confusion matrices", "Hardest examples"),
        *("Data", "How this was made"),
    ]


def test_it_fetches_nothing_and_links_to_the_runs_only(content: Content) -> None:
    text = render_page(content)
    outside = [value for _, name, value in check(text).attributes if name in ("src", "href")]
    assert len(outside) == len(content.origins)
    assert all(value.startswith("http://127.0.0.1:5000/#/experiments/") for value in outside)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_what_comes_from_outside_is_escaped(content: Content) -> None:
    text = render_page(content)
    assert text.count("<script>") == 1, "our own"
    assert "&lt;script&gt;alert" in text
    assert "$title{braces}" in text, "left as it is"


def test_marks_can_be_reached_by_keyboard_and_say_what_they_are(content: Content) -> None:
    found = check(render_page(content))
    marks = [value for tag, name, value in found.attributes if (tag, name) == ("g", "aria-label")]
    assert any(value.startswith("full: 0.") for value in marks)
    assert any("dominated by" in value for value in marks), "head_only costs more memory and is worse"
    focusable = sum(1 for tag, name, _ in found.attributes if (tag, name) == ("g", "tabindex"))
    assert focusable == len(marks) > 0


def test_the_verdict_comes_first_and_is_not_said_twice(content: Content) -> None:
    text = render_page(content)
    sentence = re.search(r'class="verdict" aria-label="Verdict"><p>(.*?)</p>', text)
    assert sentence is not None
    assert text.count(sentence.group(1)) == 1
    assert text.index('class="verdict"') < text.index("<h2>Results")


def test_one_row_without_predictions_is_a_page_too(make_run: MakeRun) -> None:
    run = make_run("full")
    table = build_table([run])
    recorded = RecordedPredictions((), np.empty(0, np.int64), [], {}, {}, {run.run_id: "gone"})
    statistics = compute_statistics(table, [run], recorded)
    origin = Origin(run, "", {})
    content = Content("x", table, Selection((run,), ()), statistics, [], {}, recorded, hardest_examples(recorded), [origin])
    found = check(render_page(content))
    assert found.headings == ["Results", "Data", "How this was made"]


def test_names_do_not_cover_one_another() -> None:
    marks = [Mark(f"row {number}", 1.0, 0.5 + number / 1e4, 1.0, 1.0, 0.4, 0.6) for number in range(30)]
    text = draw_scatter(marks, "x", "y", "label")
    places = [(float(x), float(y)) for x, y in re.findall(r'class="name" x="([-\d.]+)" y="([-\d.]+)"', text)]
    assert 1 <= len(places) < 30
    apart = [abs(a[0] - b[0]) > 30 or abs(a[1] - b[1]) >= 11 for a in places for b in places if a is not b]
    assert all(apart)


def test_single_and_equal_values_have_a_place() -> None:
    for text in (
        draw_scatter([Mark("a", 5.0, 0.5, 5.0, 5.0, 0.5, 0.5)], "x", "y", "label"),
        draw_scatter([Mark("a", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)], "x", "y", "label"),
        draw_scatter([Mark(str(i), 10.0**i, 0.5, 10.0**i, 10.0**i, 0.4, 0.6) for i in (-3, 2, 7)], "x", "y", "label"),
        draw_lines([Line("a", [(1.0, 0.5)])], "x", "y", "label"),
    ):
        assert "nan" not in text
        assert "inf" not in text


PROBE = """
<script>{
const table = document.querySelector("table.sortable");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(",");
const button = [...table.tHead.rows[0].cells].find((cell) => cell.textContent.startsWith("macro F1")).querySelector("button");
const seen = [names()];
button.click(); seen.push(names());
button.click(); seen.push(names());
const mark = document.querySelector("g.mark");
mark.dispatchEvent(new FocusEvent("focus"));
const tip = document.querySelector("#tip");
const figure = document.querySelector("figure");
figure.querySelector(".legend button").click();
document.body.dataset.seen = JSON.stringify({
  seen, tip: tip.textContent === mark.getAttribute("aria-label") && !tip.hidden,
  dimmed: figure.classList.contains("dimmed") && figure.querySelectorAll("svg.chart [data-series].forward").length,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
});
}</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_sorts_shows_tips_and_does_not_scroll_sideways(content: Content, tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_page(content).replace("</body>", PROBE), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},900",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    done = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'data-seen="(.*?)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    seen = found.group(1).replace("&quot;", '"')
    assert '"seen":["full,lora,head_only","full,lora,head_only","head_only,lora,full"]' in seen
    assert '"tip":true' in seen
    assert '"dimmed":1' in seen
    assert '"wide":0' in seen
