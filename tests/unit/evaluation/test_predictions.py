import csv
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.csv_text import unguard, write_csv
from pipeline.evaluation.plots import draw_confusion
from pipeline.evaluation.testing import predictions as module
from pipeline.evaluation.testing.predictions import SCORED_CLASSES, predict, tabulate


def names(classes: int) -> list[str]:
    return [f"class {number}" for number in range(classes)]


def scores_of(texts: Sequence[str], classes: int) -> NDArray[np.float64]:
    """Made up, and a function of each text alone."""
    rows = [np.random.default_rng(int(text)).random(classes) for text in texts]
    return np.array([row / row.sum() for row in rows])


@pytest.mark.parametrize("at_once", [1, 450, 10**9])
@pytest.mark.parametrize("classes", [2, SCORED_CLASSES, SCORED_CLASSES + 1])
def test_scores_are_those_of_every_class_or_of_the_true_and_the_predicted_one(
    classes: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    texts, gold = [str(row) for row in range(20)], np.arange(20) % classes
    calls = []

    def probabilities(chosen: Sequence[str]) -> NDArray[np.float64]:
        calls.append(len(chosen))
        return scores_of(chosen, classes)

    found = predict(probabilities, texts, gold, names(classes))
    table = tabulate(texts, gold, found, names(classes))
    expected = scores_of(texts, classes)
    assert max(calls) == min(20, max(1, at_once // classes))
    assert table["sentence"].tolist() == texts
    assert table["gold"].tolist() == [f"class {label}" for label in gold]
    assert table["pred"].tolist() == [f"class {label}" for label in expected.argmax(axis=1)]
    if classes > SCORED_CLASSES:
        assert list(table) == ["sentence", "gold", "pred", "score_gold", "score_pred"]
        assert table["score_pred"].tolist() == expected.max(axis=1).round(6).tolist()
        assert table["score_gold"].tolist() == expected[np.arange(20), gold].round(6).tolist()
    else:
        assert list(table)[3:] == [f"score_{name}" for name in names(classes)]
        assert (table.iloc[:, 3:].to_numpy() == expected.round(6)).all()


FIELDS = st.text(st.sampled_from(["\r", "\n", '"', ",", "a", " ", "\u2028", "\x85", "🙂", "'"]), max_size=6)


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1))
def test_every_text_is_read_back_as_it_was(rows: list[tuple[str, str]]) -> None:
    text = write_csv(pd.DataFrame(rows, columns=["sentence", "gold"]))
    cells = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert [tuple(map(unguard, row)) for row in cells] == [("sentence", "gold"), *rows]
    read = pd.read_csv(io.BytesIO(text.encode()), keep_default_na=False, dtype=str, skip_blank_lines=False)
    assert list(read.map(unguard).itertuples(index=False, name=None)) == rows


def test_lines_end_as_on_unix_and_a_lone_carriage_return_is_quoted() -> None:
    table = pd.DataFrame({"sentence": ["a\rb", "plain", "c\r\n"], "score": [0.5, 1e-6, 1.0]})
    assert write_csv(table) == 'sentence,score\n"a\rb",0.5\nplain,1e-06\n"c\r\n",1.0\n'


@pytest.mark.parametrize(("classes", "drawn"), [(3, 3), (500, 500), (10_000, 500)])
def test_of_very_many_classes_the_most_frequent_are_drawn(classes: int, drawn: int) -> None:
    gold = np.concatenate([np.arange(classes), np.full(9, classes - 1)])
    predicted = np.where(np.arange(len(gold)) < classes, gold, 0)
    axes = draw_confusion(gold, predicted, names(classes), "title").axes[0]
    shares = axes.images[0].get_array()
    assert shares.shape == (drawn, drawn)
    assert shares[-1, -1] == pytest.approx(0.1), "a share of all texts of the class"
    assert shares[1, 1] == 1
    assert (f"the 500 most frequent of {classes:,} classes" in axes.get_title()) == (classes > 500)
