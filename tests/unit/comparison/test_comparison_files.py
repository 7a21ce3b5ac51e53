import dataclasses
from collections.abc import Callable

from pipeline.comparison.exported_tables import list_tables
from pipeline.comparison.report.tables import ReportData
from pipeline.comparison.selection import ExcludedRun, Selection
from pipeline.evaluation.metric import ranking
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def test_runs_and_what_was_left_out_are_listed(content: ReportData, make_run: MakeRun) -> None:
    failed = make_run("prefix", status="FAILED")
    selection = Selection(content.selection.kept, (ExcludedRun(failed, "status FAILED", ": no memory"),))
    table = dict(list_tables(dataclasses.replace(content, selection=selection)))["runs.csv"]
    kept = content.selection.kept[0]
    first, last = table.iloc[0], table.iloc[-1]
    assert len(table) == len(content.selection.kept) + 1
    assert (first["row"], first["run_id"], first["status"], first["seed"]) == ("full", kept.run_id, "FINISHED", "1")
    assert first["link"].endswith(kept.run_id)
    assert first["command"] == "python -m pipeline main --epochs 1"
    assert first["make_again"] == f"python -m pipeline reproduce --run-id {kept.run_id}"
    assert (last["row"], last["status"], last["left_out"]) == ("prefix", "FAILED", "status FAILED: no memory")


def test_confusions_count_every_text_of_the_first_seed_once(content: ReportData) -> None:
    table = dict(list_tables(content))["confusions.csv"]
    assert table.groupby("row")["texts"].sum().to_dict() == {"full": 400, "lora": 400, "head_only": 400}
    right = table[(table["row"] == "full") & (table["true"] == table["predicted"])]["texts"].sum()
    first = content.recorded.predicted[content.selection.kept[0].run_id]
    assert right == (first == content.recorded.gold).sum()


def test_of_scores_there_is_nothing_by_class(content: ReportData) -> None:
    statistics = dataclasses.replace(content.statistics, metric=ranking("score"))
    of_scores = dataclasses.replace(content, statistics=statistics)
    assert {name for name, _ in list_tables(of_scores)} == {"runs.csv", "audit.csv", "pareto.csv"}
