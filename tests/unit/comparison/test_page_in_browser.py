"""What a browser makes of report.html: sorting, keys, narrow windows, paper."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pipeline.comparison.report.html import render_page
from pipeline.comparison.report.tables import ReportData
from pipeline.strategies.base import list_strategies

MakeReportData = Callable[..., ReportData]
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)

PROBE = """
<script>{
const table = document.querySelector("table.sortable");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(",");
const button = [...table.tHead.rows[0].cells].find((cell) => cell.textContent.startsWith("macro F1")).querySelector("button");
const seen = [names()];
button.click(); seen.push(names());
button.click(); seen.push(names());
const mark = [...document.querySelectorAll("g.mark")].find((mark) => mark.getBoundingClientRect().width);
mark.dispatchEvent(new FocusEvent("focus"));
const tip = document.querySelector("#tip");
const tipped = tip.textContent === mark.getAttribute("aria-label") && !tip.hidden;
const figure = document.querySelector("figure");
figure.querySelector(".legend button").click();
const shown = (scope) => [...scope.querySelectorAll("svg.chart")].filter((chart) => chart.getBoundingClientRect().width);
const dimmed = figure.classList.contains("dimmed") && shown(figure)[0].querySelectorAll("[data-series].forward").length;
const columns = [...document.querySelectorAll("table.sortable")].flatMap((table) =>
  [...table.tHead.rows[0].cells].map((heading, column) => {
    const cells = () => [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
    const orders = { none: cells() };
    for (const _ of "12") {
      heading.querySelector("button").click();
      orders[heading.getAttribute("aria-sort")] = cells();
    }
    return [heading.textContent, orders];
  }));
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const chart = shown(document)[0];
const marks = [...chart.querySelectorAll(".mark")];
marks[0].focus();
const walked = ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"].map((key) => {
  press(key);
  return marks.indexOf(document.activeElement);
});
const stops = (scope) => [...scope.querySelectorAll("[tabindex='0']")].length;
const last = document.querySelector(".legend button:last-child");
last.focus({ focusVisible: true });
const rings = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).filter((rule) =>
  rule.selectorText?.includes(":focus-visible") && last.matches(rule.selectorText.replaceAll(":focus-visible", "")));
const first = document.querySelector("table.named th");
first.closest(".scroll").scrollLeft = 200;
const stays = Math.round(first.getBoundingClientRect().left - first.closest(".scroll").getBoundingClientRect().left);
first.closest(".scroll").scrollLeft = 0;
document.body.dataset.seen = JSON.stringify({
  seen, columns, walked, tipped, dimmed, width: innerWidth,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  stops: [stops(chart), stops(figure.querySelector(".legend"))],
  arrow: getComputedStyle(button, "::after").content, ring: getComputedStyle(last).outlineStyle,
  focused: document.hasFocus(), ruled: rings.map((rule) => rule.style.outline),
  charts: shown(document).map((chart) => {
    const [box, frame] = [chart, chart.closest(".scroll")].map((one) => one.getBoundingClientRect());
    const marks = [...chart.querySelectorAll(".mark .point")].map((mark) => mark.getBoundingClientRect());
    return {
      kind: chart.getAttribute("class"), fits: chart.closest(".scroll").scrollWidth <= Math.ceil(frame.width),
      inside: marks.every((mark) => mark.left >= box.left - 1 && mark.right <= box.right + 1 && mark.right <= innerWidth),
      names: [...chart.querySelectorAll(".name")].filter((name) => name.getBoundingClientRect().right <= box.right + 1).length,
    };
  }),
  costs: [...table.tHead.rows[0].cells].filter((cell) => /(trainable %|train s|RSS MB|artifact MB)/.test(cell.textContent)).map(
    (cell) => Math.round(cell.getBoundingClientRect().right - table.closest(".scroll").getBoundingClientRect().right)),
  letters: 12 * chart.getBoundingClientRect().width / chart.viewBox.baseVal.width,
  stays,
});
}</script></body>"""

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def browse(page: Path, *options: str) -> str:
    usual = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'user'}")
    command = [str(CHROMIUM), *usual, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def probe(content: ReportData, page: Path, width: int) -> dict[str, Any]:
    """What the browser says of the page in a window of that width."""
    page.write_text(render_page(content).replace("</body>", PROBE), encoding="utf-8")
    # A window of some browsers is no narrower than 500 pixels; a frame in it is.
    frame = page.with_name("frame.html")
    frame.write_text(f'<iframe src="{page.name}" style="width:{width}px;height:900px;border:0"></iframe>', encoding="utf-8")
    relay = '<script>parent.postMessage(document.body.dataset.seen, "*");</script></body>'
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", relay), encoding="utf-8")
    listen = "<body><script>addEventListener('message', (event) => { document.body.dataset.seen = event.data; });</script>"
    frame.write_text(listen + frame.read_text(encoding="utf-8") + "</body>", encoding="utf-8")
    text = browse(frame, f"--window-size={max(width, 500) + 40},960", "--virtual-time-budget=20000", "--dump-dom")
    found = re.search(r'data-seen="(.*?)"', text)
    assert found is not None
    seen: dict[str, Any] = json.loads(unescape(found.group(1)))
    return seen


@needs_browser
@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_sorts_shows_tips_and_does_not_scroll_sideways(
    make_content: MakeReportData, tmp_path: Path, width: int
) -> None:
    content = make_content({"full": 0.9, "lora": 0.88, "head_only": 0.6}, tuned=True)
    content = replace(content, table=content.table.assign(max_train_samples=["all", "200", "all"]))
    seen = probe(content, tmp_path / "report.html", width)
    assert seen["width"] == width
    assert seen["seen"] == ["full,lora,head_only", "full,lora,head_only", "head_only,lora,full"]
    assert seen["tipped"]
    assert seen["dimmed"] == 1
    assert seen["wide"] == 0
    assert seen["walked"] == [1, 2, 2, 1, 0, 2]
    assert seen["stops"] == [1, 1], "each is one stop of the tab key"
    assert seen["ruled"] == ["2px solid var(--link)"], "what the keyboard has reached is seen"
    assert seen["ring"] == "solid" or not seen["focused"], "on a busy machine the window may not have the focus yet"
    assert seen["letters"] > 9.5
    assert seen["stays"] == 0, "names stay in sight"
    headings = [heading for heading, _ in seen["columns"]]
    assert {"name", "macro F1", "rate", "tuned", "trained on", "too sure by", "p (Holm)"} <= {*headings}
    assert {"mostly taken for", "make it again"} <= {*headings}
    assert seen["arrow"].endswith('/ ""'), "no part of the heading's name"
    for heading, orders in seen["columns"]:
        assert orders["ascending"] == sorted(orders["none"], key=as_sorted), heading
        assert orders["descending"] == sorted(orders["none"], key=as_sorted, reverse=True), heading


@needs_browser
@pytest.mark.parametrize("width", [390, 1400])
def test_every_chart_fits_the_window_and_costs_need_no_sideways_scroll(
    make_content: MakeReportData, tmp_path: Path, width: int
) -> None:
    names = list_strategies()
    assert len(names) >= 23
    content = make_content({name: 0.95 - 0.015 * place for place, name in enumerate(names[:23])})
    seen = probe(content, tmp_path / "report.html", width)
    assert seen["wide"] == 0
    charts = seen["charts"]
    assert len(charts) >= 6
    assert {chart["kind"] for chart in charts} <= {"chart small", "chart narrow" if width < 500 else "chart wide"}
    assert all(chart["fits"] and chart["inside"] for chart in charts)
    assert max(chart["names"] for chart in charts) >= 5, "some names have room"
    if width == 1400:
        assert len(seen["costs"]) == 4
        assert max(seen["costs"]) <= 0


def as_sorted(cell: str) -> tuple[float, str]:
    """By the number that a cell begins with, else by its words; `all` is more than any number."""
    if cell == "all":
        return math.inf, ""
    number = re.match(r"[+-]?\d[\d.]*(e-?\d+)?(?=$|[ %])", cell)
    return (float(number.group()), "") if number else (0.0, cell.casefold())


@needs_browser
def test_all_is_printed_without_scripts_too(make_content: MakeReportData, tmp_path: Path) -> None:
    content = make_content({f"row{number}": 0.8 for number in range(12)})
    text = re.sub("(?s)<script>.*</script>", "", render_page(content))
    assert text.count("<details>") > 12
    pages = [
        count_pages(tmp_path / f"{name}.html", version)
        for name, version in {
            "folded": text,
            "open": text.replace("<details>", "<details open>"),
            "without": re.sub("(?s)<details>.*?</details>", "", text),
        }.items()
    ]
    assert pages[0] == pages[1] > pages[2]


def count_pages(page: Path, text: str) -> int:
    page.write_text(text, encoding="utf-8")
    printed = page.with_suffix(".pdf")
    browse(page, f"--print-to-pdf={printed}")
    return len(re.findall(rb"/Type /Page\b", printed.read_bytes()))
