from collections.abc import Callable

import pytest

from pipeline.comparison.conclusions.caveats import list_caveats
from pipeline.comparison.data_audit import describe_overlap
from pipeline.comparison.selection import Selection, select_runs
from pipeline.comparison.table import build_table
from pipeline.data.overlap.texts import warn_of_overlap
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
TUNED = {"tuned_trials": "12"}


def remarks_on(selection: Selection) -> str:
    return "\n".join(list_caveats(build_table(selection.kept), selection))


@pytest.mark.parametrize(
    ("tags", "present", "absent"),
    [
        (({}, {}), "untuned: hyperparameters were fixed beforehand", "different budgets"),
        (
            (TUNED, {}),
            "Not ranked, in order of names: the rows were tuned with different budgets (12 trials; untuned).",
            "fair",
        ),
        ((TUNED, {"tuned_trials": "3"}), "tuned with different budgets (12 trials; 3 trials)", "fixed beforehand"),
        ((TUNED, TUNED), "All rows were tested on the same examples", "tuned"),
    ],
)
def test_unequal_tuning_is_said(make_run: MakeRun, tags: tuple[dict[str, str], ...], present: str, absent: str) -> None:
    text = remarks_on(select_runs([make_run("full", tags=tags[0]), make_run("lora", tags=tags[1])]))
    assert present in text
    assert absent not in text


def test_overlap_of_test_with_train_is_said_once(make_run: MakeRun) -> None:
    leaking = {"data/overlap_train_test_leaking": 74.49, "data/overlap_train_test_normalised": 19.93}
    runs = [
        make_run("full", metrics=leaking),
        make_run("lora", metrics=leaking),
        make_run("external", tags={"stage": "evaluate"}),
    ]
    selection = select_runs(runs)
    warning = "Test overlaps train: 74.5 % of the test texts repeat a training text (19.9 %)"
    assert remarks_on(selection).count(warning) == 1


def test_little_overlap_is_said_of_the_first_run_that_has_it(make_run: MakeRun) -> None:
    little = {"data/overlap_train_test_leaking": 0.5, "data/overlap_train_test_normalised": 0.1}
    external = make_run("external", tags={"stage": "evaluate"})
    assert "Whether test overlaps train was not measured." in remarks_on(select_runs([external]))
    text = remarks_on(select_runs([external, make_run("full", metrics=little)]))
    assert "Test overlaps train: 0.5 % of its texts leaking, 0.1 % repeated." in text
    limited = make_run("full", metrics=little, params={"max_train_samples": "100"})
    assert "0.5 % of its texts leaking, 0.1 % repeated (of the whole split)." in remarks_on(select_runs([limited]))
    there = {"test/rows": 400.0, "data/rows_train": 3200.0}
    typed = {"max_train_samples": "5000", "max_eval_samples": "400", "train_size": "all"}
    whole = make_run("full", metrics={**little, **there}, params=typed)
    assert "0.1 % repeated." in remarks_on(select_runs([whole])), "a limit that is none"


def test_a_single_seed_is_said_where_some_row_has_no_more(make_run: MakeRun) -> None:
    two = [make_run("full", params={"seed": seed}) for seed in "12"]
    assert "One seed" not in remarks_on(select_runs(two))
    assert "One seed: differences of a point or two may be chance." in remarks_on(select_runs([*two, make_run("lora")]))


def test_the_data_and_what_was_left_out_are_named(make_run: MakeRun) -> None:
    failed = make_run("prefix", status="FAILED")
    text = remarks_on(select_runs([failed, make_run("full", tags={"data_fingerprint": "abcdef0123456789"})]))
    assert "(data fingerprint abcdef012345)." in text
    assert f"Left out: prefix (run {failed.run_id}): status FAILED." in text


def test_what_so_many_texts_can_show_is_said(make_run: MakeRun) -> None:
    text = remarks_on(select_runs([make_run("full", metrics={"test/examples": 872})]))
    assert "872 test texts, one seed: differences below 2.1 points cannot be told from chance" in text


def test_overlap_is_described_where_there_is_little_none_or_nobody_measured_it() -> None:
    texts = {"data/overlap_train_test_leaking": 0.12, "data/overlap_train_test_normalised": 0.06}
    assert describe_overlap(texts) == "Test overlaps train: 0.1 % of its texts leaking, 0.1 % repeated."
    assert describe_overlap(texts, "of the whole split") == (
        "Test overlaps train: 0.1 % of its texts leaking, 0.1 % repeated (of the whole split)."
    )
    pairs = {"data/overlap_train_test_either_text": 2.0, "data/overlap_train_test_pair": 0.0}
    assert describe_overlap(pairs) == (
        "Test overlaps train: 2.0 % of its pairs with a text that stands in train, 0.0 % repeated."
    )
    many = dict.fromkeys(texts, 50.0)
    assert describe_overlap(many) == warn_of_overlap(many)
    assert describe_overlap(many, "of the whole split").endswith("one side. The shares are of the whole split.")
    assert describe_overlap({}) == "Whether test overlaps train was not measured."


def test_a_tokenizer_that_knows_nothing_of_the_texts_is_named(make_run: MakeRun) -> None:
    unknown = make_run("full", metrics={"data/unknown_tokens_percent": 93.2}, params={"model": "english-bert"})
    text = remarks_on(select_runs([unknown, make_run("lora", metrics={"data/unknown_tokens_percent": 12.0})]))
    assert "full: the tokenizer of english-bert makes [UNK] of 93 % of the tokens" in text
    assert "whatever the learning rate. Take an encoder whose vocabulary has the script and language of the texts." in text
    assert "lora: the tokenizer" not in text
