import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.comparison.selection import list_differing, select_runs
from pipeline.stages.compare import count_evaluated_elsewhere
from pipeline.tracking.run_kinds import EXTERNAL, describe_arguments
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def test_comparable_runs_are_kept_in_the_order_of_their_making(make_run: MakeRun) -> None:
    runs = [make_run("full"), make_run("lora"), make_run(EXTERNAL, tags={"stage": "evaluate"})]
    for order in itertools.permutations(runs):
        selection = select_runs(order)
        assert selection.kept == tuple(runs)
        assert selection.left_out == ()


@pytest.mark.parametrize(
    ("differs", "reason"),
    [
        ({"status": "FAILED", "tags": {"status_detail": "The loss became NaN."}}, "status FAILED: The loss became NaN."),
        ({"status": "RUNNING"}, "status RUNNING"),
        ({"f1": None}, "no test result; run evaluate"),
        (
            {"tags": {"data_fingerprint": "e" * 64}},
            "tested on other data than the newest run (data fingerprint eeeeeeeeeeee, not ffffffffffff)",
        ),
        (
            {"tags": {"data_fingerprint": "e" * 64}, "params": {"split": "official", "split_seed": "7"}},
            "tested on other data than the newest run (split official, not none; split_seed 7, not none)",
        ),
        (
            {"params": {"dataset": "imdb", "max_eval_samples": "100"}},
            "tested on other data than the newest run (dataset imdb, not none)",
        ),
        ({"tags": {"config_hash": "same"}}, "a newer run repeats the same configuration"),
    ],
)
def test_what_cannot_be_compared_is_left_out_with_why(make_run: MakeRun, differs: dict[str, object], reason: str) -> None:
    run = make_run("lora", **differs)
    newest = make_run("full", tags={"config_hash": "same"})
    selection = select_runs([run, newest])
    assert selection.kept == (newest,)
    assert selection.left_out == (f"lora (run {run.run_id}): {reason}",)


def test_the_newest_run_that_has_a_result_decides_which_data_count(make_run: MakeRun) -> None:
    old, newer = make_run("full"), make_run("lora", tags={"data_fingerprint": "e" * 64})
    make_run("bitfit", f1=None)
    assert select_runs([old, newer]).kept == (newer,)


def test_a_sample_of_the_test_data_is_the_same_only_with_the_same_seed(make_run: MakeRun) -> None:
    first = make_run("lora", params={"max_eval_samples": "100", "split_seed": "1"})
    other = make_run("full", params={"max_eval_samples": "100", "split_seed": "2"})
    same = make_run("bitfit", params={"max_eval_samples": "100", "split_seed": "2"})
    assert select_runs([first, other, same]).kept == (other, same)


def test_runs_of_other_stages_are_passed_over_in_silence(make_run: MakeRun) -> None:
    others = [make_run(tags={"stage": stage}) for stage in ("prepare_data", "tune", "evaluate", "compare", "main")]
    selection = select_runs(others)
    assert (selection.kept, selection.left_out) == ((), ())


def test_runs_of_other_stages_that_were_asked_for_are_named(make_run: MakeRun) -> None:
    runs = [make_run(tags={"stage": stage}) for stage in ("tune", "train", "evaluate")]
    unknown = make_run(tags={"stage": ""})
    selection = select_runs([*runs, unknown], named=True)
    assert selection.kept == (runs[1],)
    made_by = [(runs[0], "tune"), (runs[2], "evaluate"), (unknown, "another project")]
    assert selection.left_out == tuple(f"run {run.run_id}: made by {maker}, not by train" for run, maker in made_by)


def test_a_trial_counts_once_it_was_evaluated(make_run: MakeRun) -> None:
    tested, untested = make_run(tags={"stage": "trial"}), make_run(f1=None, tags={"stage": "trial"})
    selection = select_runs([tested, untested])
    assert (selection.kept, selection.left_out) == ((tested,), ())


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        ("{}", ""),
        ('{"top_k": 4}', "top_k=4"),
        ('{"r": 8, "alpha": 16.0, "targets": []}', "r=8,alpha=16.0"),
        ('{"targets": ["query", "value"], "limit": null}', "targets=[query,value]"),
        ('{"projection": false, "p": 0}', "projection=False,p=0"),
    ],
)
def test_arguments_are_described_as_they_are_typed(make_run: MakeRun, arguments: str, typed: str) -> None:
    assert describe_arguments(make_run(arguments=arguments)) == typed


def test_a_model_trained_elsewhere_is_described_by_its_address(make_run: MakeRun) -> None:
    assert describe_arguments(make_run(EXTERNAL, params={"model": "owner/name"})) == "model=owner/name"


def test_file_names_are_distinct_and_safe(make_run: MakeRun) -> None:
    runs = [
        make_run("full"),
        make_run("lora", arguments='{"targets": ["query", "value"], "r": 8}'),
        make_run("lora", arguments='{"r": 4}'),
        make_run("lora", arguments='{"r": 4}'),
        make_run(EXTERNAL, tags={"stage": "evaluate"}, params={"model": "../a/b"}),
        make_run(EXTERNAL, tags={"stage": "evaluate"}, params={"model": "c"}),
    ]
    named = select_runs(runs).file_names()
    names = ["full", "lora_targets_query_value_r_8", "lora_r_4", f"lora_r_4_{runs[3].run_id[:8]}", "external_model_.._a_b"]
    assert list(named) == [*names, "external_model_c"]
    assert list(named.values()) == runs


def test_files_of_several_encoders_say_which(make_run: MakeRun) -> None:
    runs = [make_run("full", params={"model": model, "seed": seed}) for model in ("minilm", "/x/all-mpnet") for seed in "12"]
    names = list(select_runs(runs).file_names())
    assert names == ["full_minilm_seed1", "full_minilm_seed2", "full_all-mpnet_seed1", "full_all-mpnet_seed2"]


@pytest.mark.parametrize("entry", ["..", "!?", ".", "../"])
def test_no_entry_names_another_folder(make_run: MakeRun, entry: str) -> None:
    run = make_run("full", tags={"entry": entry})
    assert list(select_runs([run]).file_names()) == [run.run_id[:8]]


def test_entries_name_files_and_lines(make_run: MakeRun) -> None:
    runs = [make_run("freeze_bottom", tags={"entry": name}) for name in ("freeze_6", "기쁨/../x", "기쁨/../x")]
    failed = make_run("freeze_bottom", status="FAILED", tags={"entry": "freeze_9"})
    selection = select_runs([*runs, failed])
    names = list(selection.file_names())
    assert names == ["freeze_6", "기쁨_.._x", f"기쁨_.._x_{runs[2].run_id[:8]}"]
    assert selection.left_out == (f"freeze_9 (run {failed.run_id}): status FAILED",)


def test_a_reason_that_holds_for_many_runs_is_one_line(make_run: MakeRun) -> None:
    failed = [make_run("lora", status="FAILED", tags={"status_detail": str(number)}) for number in range(3)]
    old = [make_run(strategy, tags={"data_fingerprint": "e" * 64}) for strategy in ("lora", "lora", "full", "prefix")]
    selection = select_runs([*failed, *old, make_run("full")])
    assert len(selection.left_out) == 7
    lines = list(selection.summarise_left_out())
    other = "tested on other data than the newest run (data fingerprint eeeeeeeeeeee, not ffffffffffff)"
    assert f"4 runs (prefix, full, 2 lora): {other}" in lines
    assert sorted(lines[1:]) == sorted(f"lora (run {run.run_id}): status FAILED: {n}" for n, run in enumerate(failed))


def test_a_run_that_was_made_again_does_not_replace_its_original(make_run: MakeRun) -> None:
    original = make_run("lora", tags={"config_hash": "same"})
    again = make_run("lora", tags={"config_hash": "same", "reproduces": original.run_id})
    broken = make_run("lora", status="FAILED", f1=None, tags={"reproduces": original.run_id}, params={"seed": "9"})
    selection = select_runs([original, again, broken])
    assert (selection.kept, selection.failed) == ((original,), ())
    assert selection.left_out == (f"lora (run {again.run_id}): made by reproduce; --run-ids takes it in",)
    assert select_runs([again], named=True).kept == (again,)


def test_another_number_of_processes_is_another_configuration(make_run: MakeRun) -> None:
    numbers: list[dict[str, str]] = [{}, {"num_processes": "1"}, {"num_processes": "2"}]
    old, one, two = (make_run("lora", tags={"config_hash": "same", **tags}) for tags in numbers)
    selection = select_runs([old, one, two])
    assert selection.kept == (one, two)
    assert selection.left_out == (f"lora (run {old.run_id}): a newer run repeats the same configuration",)


def test_only_runs_that_all_would_compare_are_said_to_be_elsewhere(make_run: MakeRun) -> None:
    mine = make_run("full")
    others = [
        make_run("bitfit", tags={"data_fingerprint": "e" * 64}),
        make_run("lora", tags={"config_hash": "same"}),
        make_run("lora", tags={"config_hash": "same"}),
        make_run("lora", f1=None),
        make_run("lora", tags={"reproduces": mine.run_id}),
    ]
    assert count_evaluated_elsewhere([mine, *others], [mine]) == 1
    newest = make_run("full", tags={"data_fingerprint": "d" * 64})
    assert count_evaluated_elsewhere([newest, mine, *others], [mine]) == 0, "all would compare runs on the newest data"


def test_a_limit_of_more_test_examples_than_there_are_is_none(make_run: MakeRun) -> None:
    def tested(strategy: str, limit: str, rows: float | None = 853.0) -> Run:
        metrics = {} if rows is None else {"test/rows": rows}
        return make_run(strategy, params={"max_eval_samples": limit} if limit else None, metrics=metrics)

    some, none, whole, typed = tested("full", "1000"), tested("lora", ""), tested("ia3", "853"), tested("bitfit", "none")
    assert select_runs([some, none, whole, typed]).kept == (some, none, whole, typed)
    assert list_differing(some, none, ("max_eval_samples",)) == []
    fewer, unknown, newest = tested("full", "852"), tested("full", "1000", None), tested("lora", "")
    selection = select_runs([fewer, unknown, newest])
    assert selection.kept == (newest,)
    assert "(max_eval_samples 852, not none)" in selection.left_out[1]
    assert "(max_eval_samples 1000, not none)" in selection.left_out[0], "an older run does not say how many there were"
    assert list_differing(fewer, some, ("split", "max_eval_samples")) == ["max_eval_samples 852, not none"]


def test_options_that_were_typed_otherwise_do_not_differ(make_run: MakeRun) -> None:
    typed = {"split_ratios": "0.8,0.1,0.1", "split_seed": "042", "label_columns": ""}
    logged = {"split_ratios": "[0.8, 0.1, 0.1]", "split_seed": "42"}
    other = make_run("lora", params={**typed, "split": "official"}, tags={"data_fingerprint": "e" * 64})
    newest = make_run("full", params={**logged, "split": "random"})
    [line] = select_runs([other, newest]).left_out
    assert line.endswith("(split official, not random)")


@pytest.mark.parametrize("lacking", ["config_hash", "data_fingerprint", "settings_hash", "strategy"])
@pytest.mark.parametrize("stage", ["train", "trial", "evaluate"])
def test_a_run_of_another_project_with_our_stage_and_metric_is_no_result(make_run: MakeRun, lacking: str, stage: str) -> None:
    mine = make_run("full")
    strange = make_run(EXTERNAL, tags={"stage": stage})
    strange = replace(strange, tags={tag: text for tag, text in strange.tags.items() if not tag.endswith(lacking)})
    assert select_runs([mine, strange]).kept == (mine,)
    assert count_evaluated_elsewhere([strange, mine], [mine]) == 0
    made_by = "evaluate" if (stage, lacking) == ("evaluate", "strategy") else "another project"
    assert select_runs([mine, strange], named=True).left_out == (f"run {strange.run_id}: made by {made_by}, not by train",)
