"""What is written as CSV is shown by a spreadsheet and not computed, and read back as it was."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.comparison.predictions import read_predictions
from pipeline.csv_text import BARE, GUARDED, guard, guarded, unguard, write_csv, write_rows
from pipeline.evaluation.testing.predictions import Predictions, tabulate
from pipeline.tracking.memory import MemoryTracker

TEXTS = st.text(st.sampled_from([*"'=+-@\t\r\n＝＋－＠;,\"$1.e ab"]), max_size=8)
FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "=A1&B1",
    "- so so",
    "-.-",
    "＝1+1",
    "+49 30 1",
    "-1+cmd",
    "--1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_begins_as_a_formula_gets_an_apostrophe(text: str) -> None:
    assert guard(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+3", "-0.25", "-1e-05", "1", "", "a=b", "'tis", "''", "so-so", "1-1", ";-)", " =1"])
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert guard(text) == unguard(text) == text


@given(TEXTS)
@example("'=x")
@example("''-1")
def test_the_text_comes_back_in_python_and_in_arrow(text: str) -> None:
    import pyarrow as pa
    from pyarrow import compute

    assert unguard(guard(text)) == text
    assert compute.replace_substring_regex(pa.array([guard(text)]), GUARDED, BARE).to_pylist() == [text]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
def test_no_cell_of_a_file_is_a_formula(rows: list[tuple[str, str]]) -> None:
    content = write_csv(pd.DataFrame(rows, columns=["=text", "label"]))
    read = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    assert [[unguard(cell) for cell in row] for row in read] == [["=text", "label"], *map(list, rows)]
    for cell in (cell for row in read for cell in row):
        assert cell[:1] not in {*"=@＝＋－＠\t\r\n"}
        assert cell[:1] not in {*"+-"} or float(cell) is not None


def test_numbers_are_written_as_numbers() -> None:
    table = pd.DataFrame(
        {"name": ["=a", "b"], "score": [-0.5, 1e-6], "count": [-1, 2], "known": [True, False], "gap": [None, "-x"]}
    )
    assert guarded(table)[["score", "count", "known"]].equals(table[["score", "count", "known"]])
    assert guarded(table).to_csv(index=False) == "name,score,count,known,gap\n'=a,-0.5,-1,True,\nb,1e-06,2,False,'-x\n"
    assert write_rows(["name", "value"], [("=a", -0.5), ("b", -2)]) == "name,value\n'=a,-0.5\nb,-2\n"


def test_predictions_come_back_as_they_were_whatever_they_begin_with() -> None:
    classes = ["-1", "=1+1", "'=1+1", "1"]
    texts, gold = [*FORMULAS, "'=x", "plain"], np.arange(len(FORMULAS) + 2) % 4
    scores = {f"score_{name}": np.full(len(texts), 0.25) for name in classes}
    tracker = MemoryTracker()
    logger = tracker.start("run")
    logger.log_text(write_csv(tabulate(texts, gold, Predictions(gold[::-1], scores), classes)), "predictions.csv")
    logger.log_text(write_csv(pd.DataFrame({"class": classes, "precision": 1.0})), "per_class.csv")
    found = read_predictions([tracker.get(logger.run_id)], tracker)
    assert found.missing == {}
    assert list(found.texts) == texts
    assert found.classes == classes
    assert found.gold.tolist() == gold.tolist()
    assert found.predicted[logger.run_id].tolist() == gold[::-1].tolist()
    assert found.probabilities[logger.run_id].shape == (len(texts), 4)


def test_predictions_of_an_older_version_are_read_as_they_are() -> None:
    tracker = MemoryTracker()
    logger = tracker.start("run")
    logger.log_text("sentence,gold,pred,score_-x,score_b\n=1+1,-x,b,0.25,0.75\n'tis,b,-x,0.5,0.5\n", "predictions.csv")
    found = read_predictions([tracker.get(logger.run_id)], tracker)
    assert list(found.texts) == ["=1+1", "'tis"]
    assert [found.classes[index] for index in found.gold] == ["-x", "b"]
    assert found.probabilities[logger.run_id].tolist() == [[0.25, 0.75], [0.5, 0.5]]
