"""A run's model on other rows than its own test part: scores in a run of their own, which no table takes in."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline import load_results
from pipeline.config import CompareConfig
from pipeline.stages import compare
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def trained(workspace):
    run_id = workspace.train(strategy="full", seed=1, epochs=6, batch_size=8, dropout=0)
    workspace.evaluate(run_id)
    return run_id


@pytest.fixture(scope="module")
def table(tiny):
    """Forty texts like those of training, of which some stand in it."""
    return pd.read_csv(tiny.csv(rows=40, seed=5))


def score(workspace, run_id, **options):
    """Score by the command line; returns the run that it made, and what was said."""
    before = {run.run_id for run in workspace.tracker.search()}
    result = workspace.cli("evaluate", run_id=run_id, **options)
    assert result.exit_code == 0, result.output
    (made,) = [run for run in workspace.tracker.search() if run.run_id not in before]
    return made, result.output


def test_all_rows_of_other_data_are_scored_in_a_run_of_their_own(workspace, trained, table, tmp_path):
    table.to_csv("other.csv", index=False)
    before = workspace.tracker.get(trained)
    made, said = score(workspace, trained, dataset="other.csv")
    assert (made.status, made.stage, made.tags[Tag.EVALUATES]) == ("FINISHED", "evaluate", trained)
    assert (made.params["dataset"], made.params["split_part"]) == ("other.csv", "all")
    assert (made.metrics["test/examples"], made.metrics["test/rows"]) == (40, 40)
    assert "Test on 40 texts of other.csv: accuracy" in said
    predictions = pd.read_csv(workspace.tracker.download(made.run_id, "predictions.csv", tmp_path))
    assert predictions["sentence"].tolist() == table["text"].tolist()
    assert predictions["gold"].tolist() == table["label"].tolist()
    assert (predictions["gold"] == predictions["pred"]).mean() == pytest.approx(made.metrics["test/accuracy"])
    assert made.metrics["test/accuracy"] >= 0.7, "the words that tell were learnt"
    assert workspace.tracker.has_artifact(made.run_id, "confusion_matrix.png")
    (entry,) = workspace.client.get_run(made.run_id).inputs.dataset_inputs
    assert entry.dataset.name == "other.csv-all"
    after = workspace.tracker.get(trained)
    assert (after.metrics, after.tags) == (before.metrics, before.tags), "the run itself stays as it was"


def test_no_table_takes_such_scores_in(workspace, trained, table):
    table.to_csv("other.csv", index=False)
    made, _ = score(workspace, trained, dataset="other.csv")
    compared = compare.run(CompareConfig(study="all"))
    assert [ids.split() for ids in compared.table["run_ids"]] == [[trained]]
    assert not any(made.run_id in line for line in compared.left_out)
    rows = load_results().set_index("run_id")
    assert (rows.loc[made.run_id, "stage"], rows.loc[made.run_id, "evaluates"]) == ("evaluate", trained)


def test_part_of_the_rows_is_said_to_be_one(workspace, trained, table):
    table.to_csv("other.csv", index=False)
    made, said = score(workspace, trained, dataset="other.csv", max_eval_samples=15)
    assert "Test on 15 of 40 texts of other.csv" in said
    assert (made.metrics["test/examples"], made.metrics["test/rows"]) == (15, 40)


def test_a_part_is_cut_as_for_training_where_the_data_have_none(workspace, trained, table):
    table.to_csv("other.csv", index=False)
    sizes = {part: score(workspace, trained, dataset="other.csv", split_part=part) for part in ("train", "validation", "test")}
    assert {part: made.metrics["test/examples"] for part, (made, _) in sizes.items()} == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    assert "Test on 4 texts of the validation part of other.csv" in sizes["validation"][1]


@pytest.fixture(scope="module")
def parts(table, workspace):
    """A folder with a file a part."""
    folder = Path("in_parts")
    folder.mkdir()
    for part, rows in {"train": table[:20], "dev": table[20:26], "test": table[26:]}.items():
        rows.to_csv(folder / f"{part}.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("asked", "part", "count"),
    [(None, "test", 14), ("test", "test", 14), ("validation", "validation", 6), ("train", "train", 20), ("all", "all", 40)],
)
def test_data_in_parts_are_scored_by_their_parts(workspace, trained, parts, asked, part, count):
    options = {"split_part": asked} if asked else {}
    made, _ = score(workspace, trained, dataset=parts, **options)
    assert (made.params["split_part"], made.metrics["test/examples"]) == (part, count)


def test_validation_stands_for_a_test_part_that_is_lacking(workspace, trained, parts):
    shutil.copytree(parts, "without_test", dirs_exist_ok=True)
    Path("without_test/test.csv").unlink()
    for options in ({}, {"split_part": "test"}):
        made, said = score(workspace, trained, dataset="without_test", **options)
        assert (made.params["split_part"], made.metrics["test/examples"]) == ("validation", 6)
        assert "6 texts of the validation part of without_test" in said


def test_validation_stands_for_a_test_part_that_hides_its_labels(workspace, trained, parts, table):
    shutil.copytree(parts, "hidden_test", dirs_exist_ok=True)
    save(table[26:].assign(label=-1), "hidden_test/test.csv")
    for options in ({}, {"split_part": "test"}):
        made, said = score(workspace, trained, dataset="hidden_test", **options)
        assert (made.params["split_part"], made.metrics["test/examples"]) == ("validation", 6)
        assert "6 texts of the validation part of hidden_test" in said


def test_a_class_called_minus_one_is_scored_where_it_stands_in_the_test_part_alone(workspace, table):
    signs = table.assign(label=[(-1, 0, 1)[row % 3] for row in range(len(table))])
    run_id = workspace.train(strategy="head_only", epochs=1, dataset=save(signs, "signs.csv"))
    Path("signs").mkdir()
    others = signs[signs["label"] >= 0]
    for part, rows in {"train": others, "dev": others[:6], "test": signs[::-1]}.items():
        save(rows, f"signs/{part}.csv")
    made, said = score(workspace, run_id, dataset="signs")
    alone, _ = score(workspace, run_id, dataset="signs/test.csv")
    assert made.metrics["test/examples"] == alone.metrics["test/examples"] == 40
    assert made.metrics["test/accuracy"] == alone.metrics["test/accuracy"]
    assert "Dropped rows" not in said


def test_rows_that_are_left_out_are_said(workspace, trained, table):
    lacking = table.astype(object)
    lacking.loc[:2, "text"], lacking.loc[3, "label"] = "", None
    made, said = score(workspace, trained, dataset=save(lacking, "lacking.csv"))
    assert made.metrics["test/examples"] == 36
    assert "Dropped rows of lacking.csv: 4 in all, 3 with missing text, 1 with missing label." in said


def test_classes_are_matched_by_name_whatever_their_order_and_capitals(workspace, trained, table):
    plain, _ = score(workspace, trained, dataset=save(table, "plain.csv"))
    renamed = table.assign(label=table["label"].map({"bad": "BAD", "good": "Good"})).iloc[::-1]
    other, _ = score(workspace, trained, dataset=save(renamed, "renamed.csv"))
    assert other.metrics["test/accuracy"] == plain.metrics["test/accuracy"]
    listed = table.assign(label=table["label"].map({"bad": 1, "good": 0}))
    by_place, _ = score(workspace, trained, dataset=save(listed, "listed.csv"), labels="1,0")
    assert by_place.metrics["test/accuracy"] == plain.metrics["test/accuracy"]
    in_any_order, _ = score(workspace, trained, dataset="plain.csv", labels="good,bad")
    assert in_any_order.metrics["test/accuracy"] == plain.metrics["test/accuracy"], "they are the model's own names"


def save(table, name):
    table.to_csv(name, index=False)
    return name


def test_one_class_alone_can_be_scored(workspace, trained, table):
    good = save(table[table["label"] == "good"], "good.csv")
    made, said = score(workspace, trained, dataset=good)
    assert made.metrics["test/examples"] == 20
    assert "No row is of bad, which counts as 0 in macro precision" in said


def test_columns_have_the_usual_options_or_those_of_the_run(workspace, trained, tiny, table):
    named = table.rename(columns={"text": "body", "label": "verdict"})
    made, _ = score(workspace, trained, dataset=save(named, "named.csv"), text_column="body", label_column="verdict")
    assert made.metrics["test/examples"] == 40
    own = save(pd.read_csv(tiny.csv()).rename(columns={"text": "body", "label": "verdict"}), "own.csv")
    columns = {"dataset": own, "text_column": "body", "label_column": "verdict"}
    other_run = workspace.train(strategy="head_only", epochs=1, **columns)
    for file in ("named.csv", save(table, "plain.csv")):
        assert score(workspace, other_run, dataset=file)[0].metrics["test/examples"] == 40
    packaged = {"dataset": "rotten_tomatoes", "labels": "negative,positive", "max_eval_samples": 20}
    assert score(workspace, other_run, **packaged)[0].metrics["test/examples"] == 20


def test_what_the_model_has_seen_is_said(workspace, trained, tiny, table):
    seen = pd.read_csv(tiny.csv()).assign(text=lambda rows: rows["text"] + " ")
    made, said = score(workspace, trained, dataset=save(pd.concat([seen, table]), "seen.csv"))
    assert made.metrics["data/overlap_train_exact"] == pytest.approx(100 * 160 / 240)
    assert "160 of them stand word for word in the train part" in said


@pytest.mark.parametrize(("part", "count"), [("train", 160), ("validation", 20)])
def test_other_parts_of_a_runs_own_data_are_scored_apart(workspace, trained, part, count):
    before = workspace.tracker.get(trained)
    for options in ({}, {"dataset": workspace.options["dataset"]}):
        made, _ = score(workspace, trained, split_part=part, **options)
        assert (made.tags[Tag.EVALUATES], made.metrics["test/examples"]) == (trained, count)
    assert workspace.tracker.get(trained).metrics == before.metrics


def test_a_runs_own_test_part_is_what_evaluate_measures_anyway(workspace, trained):
    for options in ({"split_part": "test"}, {"dataset": workspace.options["dataset"]}):
        result = workspace.cli("evaluate", run_id=trained, **options)
        assert result.exit_code == 0, result.output
        assert f"Run {trained}." in result.output
        assert "recorded before" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "mixed.csv"}, "has the class mixed, but the model knows bad, good."),
        ({"dataset": "mixed.csv", "labels": "a,b,c"}, "--labels a, b, c: names 3 classes, but the model has 2"),
        ({"dataset": "OWN", "split_part": "all"}, "among all rows of what run"),
        ({"split_part": "all"}, "--split-part all: among all rows"),
        ({"split_part": "half"}, "--split-part: got 'half'"),
        ({"dataset": "OWN", "split_part": "train", "text_column": "text"}, "was trained on, so it is read as it was then"),
        ({"split_part": "test", "max_eval_samples": 5}, "Leave out --max-eval-samples, or name other data with --dataset"),
        ({"dataset": "mixed.csv", "max_length": 9}, "Leave out --max-length."),
        ({"dataset": "nowhere.csv"}, "--dataset nowhere.csv: no such file"),
        ({"dataset": "mixed.csv", "transfer_dataset": "mixed.csv"}, "stands beside a run's own test"),
    ],
    ids=str,
)
def test_mistakes_are_named_and_make_no_run(workspace, trained, table, options, message):
    save(pd.concat([table, pd.DataFrame([{"text": "neither this nor that", "label": "mixed"}])]), "mixed.csv")
    before = len(workspace.tracker.search())
    options = {name: workspace.options["dataset"] if value == "OWN" else value for name, value in options.items()}
    result = workspace.cli("evaluate", run_id=trained, **options)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert len(workspace.tracker.search()) == before


def test_a_model_from_elsewhere_is_tested_on_its_test_part(workspace):
    result = workspace.cli("evaluate", model="somewhere", dataset="other.csv", split_part="all")
    assert result.exit_code == 2
    assert "--split-part all: goes with --run-id" in result.output


def test_a_test_of_part_of_the_rows_says_so_wherever_its_scores_stand(workspace):
    run_id = workspace.train(strategy="head_only", epochs=1, max_eval_samples=7)
    for _ in range(2):  # measured, then found
        assert "Test on 7 of 20 texts: accuracy" in workspace.cli("evaluate", run_id=run_id).output
    assert "tested on 7 of 20 texts" in workspace.cli("compare", run_ids=run_id).output
