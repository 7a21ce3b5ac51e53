from collections.abc import Callable

from pipeline.comparison.budgets import describe_tuning
from pipeline.comparison.report import describe_budgets
from pipeline.comparison.selection import select_runs
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
TWELVE = {"tuned_trials": "12", "tuning_budget": "12 trials", "budget/train_seconds": "1234.6"}
HALVED = {"tuned_trials": "12", "tuning_budget": "12 trials, halving"}


def test_the_budget_and_what_it_took_are_shown(make_run: MakeRun) -> None:
    assert describe_tuning(make_run(tags=TWELVE)) == "12 trials (1,235 s)"
    assert describe_tuning(make_run(tags={"tuned_trials": "3"})) == "3 trials"
    assert describe_tuning(make_run()) == "untuned"


def test_rows_of_different_budgets_are_not_ranked_unless_told(make_run: MakeRun) -> None:
    runs = [make_run("lora", 0.7, tags=TWELVE), make_run("full", 0.6, tags=HALVED), make_run("partial", 0.8, tags=TWELVE)]
    refused = select_runs(runs)
    assert not refused.ranked
    assert list(build_table(refused.kept, refused.ranked)["strategy"]) == ["full", "lora", "partial"]
    [said] = describe_budgets(refused)
    assert said.startswith("Not ranked, in order of names: the rows were tuned with different budgets (12 trials; 12 trials, h")
    assert said.endswith("--allow-unequal-budgets true.")
    told = select_runs(runs, allow_unequal_budgets=True)
    assert list(build_table(told.kept, told.ranked)["strategy"]) == ["partial", "lora", "full"]
    [said] = describe_budgets(told)
    assert said.endswith("so their ranking is not fair.")


def test_a_model_from_elsewhere_does_not_keep_the_others_from_being_ranked(make_run: MakeRun) -> None:
    runs = [make_run("lora", 0.7, tags=TWELVE), make_run("external", 0.9, tags={"stage": "evaluate"})]
    selection = select_runs(runs)
    assert selection.ranked
    assert list(describe_budgets(selection)) == []
