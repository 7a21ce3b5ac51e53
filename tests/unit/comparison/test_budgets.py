from collections.abc import Callable
from functools import partial

from pipeline.comparison.conclusions.caveats import describe_fairness, describe_statistics, find_verdict
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.pair_tests import PairTest
from pipeline.comparison.row_names import group_runs, label_rows
from pipeline.comparison.selection import describe_tuning, is_fair, list_inequalities, select_runs
from pipeline.comparison.statistics import RowStatistics, Statistics
from pipeline.comparison.table import build_table
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
make_row = partial(RowStatistics, metric=F1)
make_pair = partial(PairTest, metric=F1)
make_statistics = partial(Statistics, metric=F1)
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
    assert list(build_table(refused.kept, ranked=refused.ranked)["strategy"]) == ["full", "lora", "partial"]
    [said] = describe_fairness(build_table(runs), refused)
    assert said.startswith("Not ranked, in order of names: the rows were tuned with different budgets (12 trials; 12 trials, h")
    assert said.endswith("--allow-unequal-budgets true.")
    told = select_runs(runs, allow_unequal_budgets=True)
    assert list(build_table(told.kept, ranked=told.ranked)["strategy"]) == ["partial", "lora", "full"]
    table = build_table(told.kept)
    verdict = find_verdict(table, told, make_statistics((), (), 0, 0, {}))
    assert "the rows were tuned with different budgets" in verdict.sentences[2]
    [said] = describe_fairness(table, told)
    assert said.endswith("so their ranking is not fair.")


def test_the_verdict_names_no_best_where_budgets_differ_whatever_the_tests_show(make_run: MakeRun) -> None:
    rows = tuple(
        make_row(name, 1, 0, {"f1_macro": Interval(f1, f1 - 0.01, f1 + 0.01)}) for name, f1 in (("full", 0.9), ("lora", 0.6))
    )
    gap = Interval(0.3, 0.28, 0.32)
    statistics = make_statistics(
        rows, (make_pair(0, 1, {"f1_macro": gap, "accuracy": gap}, 0.001, 0.001, 0.001, 0.001, 0.1, 0.01, 1),), 100, 100, {}
    )
    selection = select_runs([make_run("full", 0.9, tags=TWELVE), make_run("lora", 0.6)])
    table = build_table(selection.kept, ranked=selection.ranked)
    unequal = list_inequalities(group_runs(table, selection.kept))
    assert reach_verdict(statistics, table, 0, unequal, ranked=True).top == 0
    verdict = reach_verdict(statistics, table, 0, unequal, selection.ranked)
    assert (verdict.top, verdict.behind) == (None, ())
    assert verdict.sentences[0] == "The strategies are not ranked: they were tuned with different budgets (12 trials; untuned)."
    assert "full" not in verdict.sentences[1]
    assert next(iter(describe_statistics(table, selection, statistics))) == verdict.sentences[0]


def test_seeds_of_different_budgets_stand_in_rows_of_their_own(make_run: MakeRun) -> None:
    runs = [make_run("lora", 0.7, tags=TWELVE, params={"seed": "1"}), make_run("lora", 0.6, tags=HALVED, params={"seed": "2"})]
    assert len(build_table(runs)) == 2


def test_a_model_from_elsewhere_does_not_keep_the_others_from_being_ranked(make_run: MakeRun) -> None:
    runs = [make_run("lora", 0.7, tags=TWELVE), make_run("external", 0.9, tags={"stage": "evaluate"})]
    selection = select_runs(runs)
    assert selection.ranked
    assert list(describe_fairness(build_table(runs), selection)) == []


def test_rows_that_learned_from_different_data_are_not_ranked_unless_told_and_are_told_apart(make_run: MakeRun) -> None:
    few, many = {"max_train_samples": "200"}, {"max_train_samples": "400"}
    runs = [
        make_run("head_only", 0.9, params=many | {"compute_dtype": "float32"}),
        make_run("head_only", 0.8, params=many | {"compute_dtype": "bfloat16"}),
        make_run("lora", 0.7, params=few),
        make_run("external", 0.9, tags={"stage": "evaluate"}),
    ]
    selection = select_runs(runs)
    table = build_table(selection.kept, ranked=selection.ranked)
    assert (selection.ranked, sorted(label_rows(table))) == (
        False,
        ["external", "head_only, bf16", "head_only, fp32", "lora"],
    )
    unequal = (
        "trained on different data (at most 400 examples for head_only, fp32 and head_only, bf16; "
        "at most 200 examples for lora)"
    )
    _, said = describe_fairness(table, selection)
    assert unequal in said
    assert "--allow-unequal-budgets true" in said
    nothing = make_statistics((), (), 0, 0, {})
    assert find_verdict(table, selection, nothing).sentences[0] == f"The strategies are not ranked: they were {unequal}."
    told = select_runs(runs, allow_unequal_budgets=True)
    table = build_table(told.kept)
    assert table["strategy"].tolist() == ["head_only", "external", "head_only", "lora"]
    assert unequal in find_verdict(table, told, nothing).sentences[2]


def test_the_same_limit_is_the_same_data_only_with_the_same_seed_and_choices_of_a_row_do_not_stop_ranking(
    make_run: MakeRun,
) -> None:
    first = make_run("full", params={"max_train_samples": "200", "split_seed": "1"})
    other = make_run("lora", params={"max_train_samples": "200", "split_seed": "2", "epochs": "3"})
    table = build_table([first, other])
    assert not select_runs([first, other]).ranked
    [_, said] = describe_fairness(table, select_runs([first, other]))
    assert (
        "at most 200 examples drawn with split seed 1 for full; at most 200 examples drawn with split seed 2 for lora" in said
    )
    choices = [{"epochs": "3"}, {"epochs": "4"}, {"batch_size": "8"}, {"compute_dtype": "bfloat16"}, {"split_seed": "7"}]
    assert select_runs([make_run("full", params=choice) for choice in choices]).ranked


def test_a_limit_above_what_there_is_takes_all_examples(make_run: MakeRun) -> None:
    all_of_them = {"data/rows_train": 150.0, "data/train_examples": 150.0}
    limited = make_run("full", params={"max_train_samples": "200"}, metrics=all_of_them)
    other = make_run("lora", params={"max_train_samples": "400"}, metrics=all_of_them)
    few = make_run("ia3", params={"max_train_samples": "100"}, metrics={**all_of_them, "data/train_examples": 100.0})
    assert is_fair([limited, other, make_run("bitfit")])
    assert not is_fair([limited, few])
    part = make_run("lora", params={"max_train_samples": "200"}, metrics={**all_of_them, "data/train_examples": 32.0})
    assert is_fair([limited, part]), "--train-size takes 32 of all of them"
