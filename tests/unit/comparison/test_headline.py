"""The answer in plain words is as careful as the verdict."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pipeline.comparison.conclusions.headline import Headline, write_headline
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.report.html import render_page
from pipeline.comparison.report.markdown import render_markdown
from pipeline.comparison.report.sections import headline
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
MakeReportData = Callable[..., ReportData]
Record = Callable[..., RecordedPredictions]
Write = Callable[..., Headline]


@pytest.fixture
def write(make_run: MakeRun, record: Record) -> Write:
    def write(accuracies: Mapping[str, float], seeds: int = 1, ranked: bool = True, **metrics: float) -> Headline:
        runs = [
            make_run(
                name, right, metrics={f"cost/{metric}": value for metric, value in metrics.items()}, params={"seed": str(seed)}
            )
            for name, right in accuracies.items()
            for seed in range(seeds)
        ]
        table = build_table(runs, ranked=ranked)
        statistics = compute_statistics(table, runs, record(runs, [accuracies[run.name] for run in runs]))
        return write_headline(reach_verdict(statistics, table, ranked=ranked), statistics, table)

    return write


def test_a_shown_winner_is_to_be_used(write: Write) -> None:
    found = write({"full": 0.9, "lora": 0.7, "prompt": 0.6}, seeds=3)
    assert found.answer == "Use full: it is better than all others."
    sure = " ".join(found.sure)
    assert re.search(
        r"Macro F1 of 0\.\d{3} \(95 % interval 0\.\d{3} to 0\.\d{3}\), from 1,000 test texts and 3 trained models\.", sure
    )
    assert "lora is nearest: by " in sure
    assert "seed" not in sure


def test_of_those_that_tie_the_others_may_do_as_well(write: Write) -> None:
    found = write({"full": 0.9, "lora": 0.895, "prompt": 0.6})
    first, second = sorted(("full", "lora"), key=found.answer.index)
    assert found.answer == f"Use {first}; {second} may do as well."
    assert f"No difference to {second} was shown, which is no proof that there is none." in found.sure
    assert "With one seed that is said of the trained models; another seed may turn out otherwise." in found.sure
    assert [name for name, _ in found.costs] == [first, second], "who is behind has no price"


def test_costs_are_those_that_were_measured(write: Write) -> None:
    measured = {"train_seconds": 150.0, "cache_seconds": 30.0, "predict_disk_mb": 88.4}
    latency = {"latency_ms_median": 5.04, "latency_ms_low": 4.9, "latency_ms_high": 5.2}
    [(_, cost)] = write({"full": 0.9, "lora": 0.7}, **measured, **latency).costs
    assert cost == "trains 100 % of the parameters, took 3 min to train, answers one text in 5.04 ms and needs 88 MB of files."
    merged = {f"merged_{name}": value / 2 for name, value in latency.items()}
    [(_, cost)] = write({"full": 0.9, "lora": 0.7}, **latency, **merged).costs
    assert cost == "trains 100 % of the parameters and answers one text in 2.52 ms with its adapters merged."
    assert write({"full": 0.9, "lora": 0.7}).costs == (("full", "trains 100 % of the parameters."),)


def test_unequal_treatment_is_said(make_content: MakeReportData) -> None:
    content = make_content({"full": 0.9, "lora": 0.88}, tuned=True)
    assert headline(content).sure[-1].endswith("so the comparison is not fair.")


@pytest.mark.parametrize("options", [{"ranked": False}, {}])
def test_where_the_verdict_names_none_neither_does_the_headline(write: Write, options: dict[str, Any]) -> None:
    found = write({"full": 0.9, "lora": 0.7} if options else {"full": 0.5}, **options)
    assert found.answer == "No strategy can be named as the best." or "nothing to compare it with" in found.answer
    assert "Use" not in found.answer


def test_page_and_markdown_begin_with_it(make_content: MakeReportData) -> None:
    content = make_content({"full": 0.9, "lora": 0.88, "head_only": 0.6}, title="a study")
    page, text = render_page(content), render_markdown(content, [])
    [heading] = re.findall("<h1>(.*?)</h1>", page)
    assert heading.startswith("Use ")
    assert text.startswith(f"# Results: a study\n\n**{heading}**\n")


@pytest.mark.parametrize(("tag", "lacking"), [("hardware", "took"), ("fairtune.predict_setting", "answers")])
def test_times_of_two_machines_do_not_stand_side_by_side(make_run: MakeRun, record: Record, tag: str, lacking: str) -> None:
    latency = {f"cost/latency_ms_{name}": 5.0 for name in ("median", "low", "high", "p99")}
    runs = [
        make_run(name, metrics={"cost/train_seconds": 9.0, **latency}, tags={tag: machine})
        for name, machine in (("full", "X"), ("lora", "Y"))
    ]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.9]))
    costs = " ".join(said for _, said in write_headline(reach_verdict(statistics, table), statistics, table).costs)
    assert lacking not in costs
    assert ("took" in costs) != ("answers" in costs)
