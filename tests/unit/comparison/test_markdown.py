"""results.md: all that report.html says."""

import dataclasses
import re
from collections.abc import Callable

import pytest

from pipeline.comparison.conclusions.caveats import list_caveats
from pipeline.comparison.report.html import render_page
from pipeline.comparison.report.markdown import render_markdown
from pipeline.comparison.report.tables import ReportData

MakeReportData = Callable[..., ReportData]


def test_it_has_the_verdict_the_sections_and_the_remarks_of_the_page(content: ReportData) -> None:
    text, page = render_markdown(content, []), render_page(content)
    headings = re.findall(r"(?m)^## (.*)$", text)
    assert headings == [heading for heading in re.findall("<h2>(.*?)</h2>", page) if heading != "Training curves"]
    for remark in list_caveats(content.table, content.selection, content.statistics):
        assert remark in text.replace("\\", "")


@pytest.mark.parametrize(
    "line",
    [
        r"\| full +\| *0\.9\d+ ± .* \| .* to .* \| a +\|",
        r"\| full +\| head_only +\| *\+\d+",
        r"### head_only\n\nRows are true classes.*\n\n\| true .*\n.*\n\| bad +\| +\d+ \| +\d+ \|",
        r"\| .*script.* \d+ +\| .*script.* \| bad +\| +\d+% \| +0\.90 \|",
        r"\| train +\| +3,200 \| +1,600 \(50%\) \| +1,600 \(50%\) \| +31 \|",
        r"```\npython -m pipeline main --epochs 1\n```",
        r"- torch: 2\.13\.0",
        r"\| \[full\]\(http://127\.0\.0\.1:5000/\S+/runs/\w+\) +\| full .*`python -m pipeline reproduce --run-id \w+`",
        r"Test overlaps train: 12\.5 % of the test texts",
    ],
    ids=["results", "pairs", "matrix", "hardest", "data", "command", "versions", "runs", "overlap"],
)
def test_everything_of_the_page_is_in_it(content: ReportData, line: str) -> None:
    assert re.search(line, render_markdown(content, [])), render_markdown(content, [])


def test_pictures_stand_where_the_page_has_charts_and_others_at_the_end(content: ReportData) -> None:
    text = render_markdown(content, ["f1", "trainable_share", "training_curves", "pareto"])
    assert text.index("## What quality costs") < text.index("![pareto](pareto.png)") < text.index("## Where it is")
    assert "## Training curves\n\n![training curves](training_curves.png)\n" in text
    assert text.endswith("## Pictures\n\n![f1](f1.png)\n![trainable share](trainable_share.png)\n")


def test_charts_without_a_picture_leave_no_heading(make_content: MakeReportData) -> None:
    content = make_content({f"row{number}": 0.8 for number in range(7)})
    assert "Reliability, 7 charts" in render_page(content)
    text = render_markdown(content, [])
    assert "Reliability" not in text
    assert "Training curves" not in text


def test_what_comes_from_outside_is_read_as_it_stands(make_content: MakeReportData) -> None:
    evil = "a|b `c` *d* [e](http://f) ![g](h) <img src=x> \\ &amp;\n# i"
    text = render_markdown(make_content({"full": 0.9, "lora": 0.6}, title=evil, classes=("bad", evil)), [])
    shown = r"a\|b \`c\` \*d\* [e]\(http://f) !\[g]\(h) \<img src=x> \\ \&amp; # i"
    assert text.startswith(f"# Results: {shown}\n")
    assert f"| {shown} |" in text
    assert not re.search(r"(?<!\\)<(script|img)", text)


def test_a_command_cannot_end_its_block(content: ReportData) -> None:
    origin = content.provenance[0]
    command = ["main", "main", "--dataset", "```"]
    provenance = [dataclasses.replace(origin, environment={"command": command})]
    text = render_markdown(dataclasses.replace(content, provenance=provenance), [])
    fence = "`" * 4
    block = text.split(f"{fence}\n")[1]
    assert "--dataset '```'" in block, "as it was typed"
