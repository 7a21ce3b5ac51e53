"""Rows that predict sets of labels: judged, told apart, and read back."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.breakdown import break_down, hardest_examples
from pipeline.comparison.conclusions.verdict import reach_verdict
from pipeline.comparison.conclusions.wording import SIGN_TEST
from pipeline.comparison.exported_tables import tabulate_pairs
from pipeline.comparison.label_sets import read_probabilities, read_sets
from pipeline.comparison.predictions import FILE, RecordedPredictions, read_predictions
from pipeline.comparison.ranking import headline
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import add_statistics, build_table, render_table
from pipeline.evaluation.metric import Answers, list_metrics
from pipeline.evaluation.multi_label import write_sets
from pipeline.evaluation.statistics.bootstrap import resample_scores
from pipeline.evaluation.statistics.chance import area_of_chance, guess_sets
from pipeline.evaluation.statistics.significance import count_wins, exact_mcnemar
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
NAMES = ["joy", "fear", "awe"]
SHARES = np.array([0.5, 0.2, 0.1])


def draw(rates: Sequence[float], texts: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are true, and what runs say that get each label right with their rate."""
    generator = np.random.default_rng(seed)
    gold = generator.random((texts, len(SHARES))) < SHARES
    right = generator.random((len(rates), *gold.shape)) < np.array(rates)[:, None, None]
    return gold, right == gold


@pytest.fixture
def study(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch):
    """Makes up a study with a row a rate: its runs, what they predicted, its table and what is said of it."""
    monkeypatch.setattr("pipeline.evaluation.statistics.bootstrap.RESAMPLES", 1000)

    def study(rates: dict[str, float], change: Callable[[np.ndarray], None] | None = None, texts: int = 400):
        runs = [
            make_run(name, None, metrics={"test/f1_macro": rate, "test/subset_accuracy": rate}) for name, rate in rates.items()
        ]
        gold, predicted = draw(list(rates.values()), texts)
        if change:
            change(predicted)
        said = {run.run_id: one for run, one in zip(runs, predicted, strict=True)}
        probabilities = {run_id: np.where(one, 0.8, 0.1) for run_id, one in said.items()}
        sentences = [f"text {row}" for row in range(texts)]
        recorded = RecordedPredictions(sentences, gold, list(NAMES), said, probabilities)
        table = build_table(runs)
        statistics = compute_statistics(table, runs, recorded)
        return runs, recorded, add_statistics(table, statistics), statistics

    return study


def test_scores_of_all_runs_and_draws_are_those_of_each() -> None:
    gold, predicted = draw([0.9, 0.8, 0.7], 150)
    found = resample_scores(gold, predicted, 3, 500)
    assert found.scores.keys() == {"f1_macro", "f1_micro", "f1_samples", "subset_accuracy", "hamming_loss"}
    for metric in list_metrics("multi"):
        if metric.name in found.scores:
            expected = [metric.of_answers(Answers(gold, one, 3)) for one in predicted]
            assert found.scores[metric.name] == pytest.approx(expected, abs=1e-9)
    exact = (predicted == gold).all(axis=2)
    deviation = np.sqrt(exact.mean(axis=1) * (1 - exact.mean(axis=1)) / 150)
    assert np.sqrt(np.diag(found.covariance["subset_accuracy"])) == pytest.approx(deviation, rel=0.1)


def test_the_sign_test_of_one_label_is_mcnemar_s() -> None:
    gold, predicted = draw([0.9, 0.7])
    wrong = (predicted != gold)[:, :, :1]
    wins = count_wins(wrong.sum(axis=2))
    first, second = ~wrong[0] & wrong[1], wrong[0] & ~wrong[1]
    assert wins.tolist() == [[0, first.sum()], [second.sum(), 0]]
    assert exact_mcnemar(wins, wins.T)[0, 1] == exact_mcnemar(int(first.sum()), int(second.sum()))


def test_rows_are_told_apart_or_share_a_letter(study) -> None:
    _, _, table, statistics = study({"full": 0.95, "lora": 0.945, "head_only": 0.8})
    assert [row.group for row in statistics.rows] == ["a", "a", "b"]
    assert statistics.label_type == "multi"
    assert headline(table).of == "multi"
    for metric in ("f1_macro", "f1_micro", "subset_accuracy", "hamming_loss"):
        assert (table[f"{metric}_low"] < table[f"{metric}_high"]).all()
    shown = render_table(table)
    assert "macro F1" in shown
    assert "subset accuracy" in shown
    pairs = tabulate_pairs(statistics)
    assert list(pairs["different"]) == [False, True, True]
    assert (pairs["p_sign_test"] < 1e-6).tolist() == [False, True, True]
    assert pairs["hamming_loss_difference"].iloc[1] < 0
    [sentence, *_] = reach_verdict(statistics, table, 0, (), True, ()).sentences
    assert "the highest score" in sentence


def test_few_texts_that_are_judged_differently_are_left_to_the_sign_test(study) -> None:
    def copy_but_five(predicted: np.ndarray) -> None:
        predicted[1] = predicted[0]
        predicted[1, :5, 0] = ~predicted[0, :5, 0]

    _, _, _, statistics = study({"full": 0.98, "lora": 0.98}, copy_but_five)
    assert statistics.pairs[0].discordance == 5 / 400
    assert statistics.pairs[0].decided_by == SIGN_TEST
    assert not statistics.pairs[0].different


def test_what_a_guess_reaches_has_not_learned(study) -> None:
    def give_all(predicted: np.ndarray) -> None:
        predicted[1] = True

    _, recorded, table, statistics = study({"full": 0.9, "lora": 0.9}, give_all)
    guess = guess_sets(recorded.gold)
    share = recorded.gold.mean(axis=0)
    assert guess.f1_macro == pytest.approx((2 * share / (1 + share)).mean())
    assert statistics.rows[1].intervals["f1_macro"].value == pytest.approx(guess.f1_macro)
    assert [row.learned for row in statistics.rows] == ["yes", "no"]
    assert statistics.rows[1].constant == 1
    said = " ".join(reach_verdict(statistics, table, 0, (), True, ()).sentences)
    assert "its subset accuracy, 0." in said
    assert "that of always giving the most frequent set of labels" in said


def test_no_guess_beats_giving_a_label_to_all() -> None:
    gold, _ = draw([], 2000)
    generator = np.random.default_rng(1)
    bound = guess_sets(gold).f1_macro
    for rate in (0.1, 0.5, 0.9, 1.0):
        predicted = generator.random(gold.shape) < rate
        assert list_metrics("multi")[0].compute(Answers(gold, predicted, 3)) < bound + 0.02


def test_what_ranks_by_chance_stays_below_the_bound() -> None:
    gold, _ = draw([], 200)
    generator = np.random.default_rng(2)
    auroc = next(metric for metric in list_metrics("multi") if metric.label == "AUROC")
    found = [
        auroc.of_answers(Answers(gold, gold, 3, lambda scores=scores: scores)) for scores in generator.random((80, *gold.shape))
    ]
    assert np.mean(np.array(found) > area_of_chance(gold)) < 0.05
    assert area_of_chance(np.zeros((5, 2), bool)) == 1


def test_the_hardest_texts_say_what_is_wrong(study) -> None:
    def make_mistakes(predicted: np.ndarray) -> None:
        predicted[:] = draw([])[0]
        predicted[:, 7, 1] ^= True
        predicted[:, 9] ^= True
        predicted[0, 11, 0] ^= True

    runs, recorded, _, _ = study({"full": 0.9, "lora": 0.9}, make_mistakes)
    found = hardest_examples(recorded, {"full": [runs[0].run_id], "lora": [runs[1].run_id]})
    assert found["sentence"].tolist() == ["text 9", "text 7", "text 11"]
    assert found["wrong_share"].tolist() == [1.0, 1.0, 0.5]
    assert found["wrong_labels"].tolist() == [3.0, 1.0, 0.5]
    sign = "-" if recorded.gold[7, 1] else "+"
    assert found["usual_mistake"].iloc[1] == f"{sign}fear"
    assert found["confidence"].iloc[1] == pytest.approx(0.9 if recorded.gold[7, 1] else 0.8)
    assert found["gold"].map(json.loads).tolist() == [
        [NAMES[i] for i in np.flatnonzero(recorded.gold[row])] for row in (9, 7, 11)
    ]


def test_the_breakdown_is_by_label_and_of_all_labels_together(study) -> None:
    runs, recorded, _, _ = study({"full": 0.9})
    found = break_down(recorded, {"full": [runs[0].run_id]})
    assert found.by_class["class"].tolist() == NAMES
    assert found.by_class["texts"].tolist() == recorded.gold.sum(axis=0).tolist()
    assert found.reliability["texts"].sum() == recorded.gold.size
    [row] = found.certainty.to_dict("records")
    assert row["accuracy"] == pytest.approx(recorded.gold.mean())
    assert found.by_length["texts"].sum() == 400


def test_predictions_are_read_back_as_they_were(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    gold, predicted = draw([0.9, 0.8], 30)
    tracker = MemoryTracker()
    runs = []
    for place, one in enumerate(predicted):
        logger = tracker.start(f"run {place}")
        scores = {f"score_{name}": column for name, column in zip(NAMES, np.where(one, 0.8, 0.1).T, strict=True)}
        table = {
            "sentence": [f"text {row}" for row in range(30)],
            "gold": write_sets(gold, NAMES),
            "pred": write_sets(one, NAMES),
        }
        logger.log_text(pd.DataFrame({**table, **scores}).to_csv(index=False), FILE)
        logger.log_text("class,support\n" + "".join(f"{name},1\n" for name in NAMES), "per_class.csv")
        logger.log_metrics({"test/f1_macro": 0.5, "test/subset_accuracy": 0.5})
        runs.append(logger.run_id)
    found = read_predictions([tracker.get(run_id) for run_id in runs], tracker)
    assert found.of_sets
    assert found.classes == NAMES
    np.testing.assert_array_equal(found.gold, gold)
    np.testing.assert_array_equal(np.stack([found.predicted[run_id] for run_id in runs]), predicted)
    np.testing.assert_allclose(found.confidence[runs[0]], np.where(predicted[0], 0.8, 0.1))
    assert not found.missing


def test_a_label_that_no_list_of_classes_names_is_added() -> None:
    index = {"joy": 0}
    assert read_sets(np.array(['["joy", "ü"]', "[]"]), index).tolist() == [[True, True], [False, False]]
    assert index == {"joy": 0, "ü": 1}
    read = read_probabilities({"joy": [0.1, 0.2]}, ["joy", "ü"], 2)
    assert read[:, 0].tolist() == [0.1, 0.2]
    assert np.isnan(read[:, 1]).all()
