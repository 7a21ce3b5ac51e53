from collections.abc import Callable

import numpy as np
import pytest

from pipeline.comparison.breakdown import hardest_examples
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


def test_the_hardest_texts_are_those_that_most_strategies_get_wrong(make_run: MakeRun) -> None:
    runs = [make_run("full"), make_run("lora", params={"seed": "1"}), make_run("lora", params={"seed": "2"})]
    gold = np.array([0, 0, 1, 1])
    predicted = dict(zip((run.run_id for run in runs), np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 1, 0]]), strict=True))
    confidence = {run.run_id: np.full(4, 0.6 + number / 10) for number, run in enumerate(runs)}
    recorded = RecordedPredictions(list("wxyz"), gold, ["bad", "good"], predicted, confidence)
    table = hardest_examples(recorded, {"full": [runs[0].run_id], "lora": [runs[1].run_id, runs[2].run_id]})
    assert table["sentence"].tolist() == ["w", "x", "z"]
    assert table["wrong_share"].tolist() == [1.0, 0.5, 0.25]
    assert table["confidence"].tolist() == pytest.approx([(0.6 + 0.75) / 2, 0.6, 0.8])
    assert table["usual_mistake"].tolist() == ["good", "good", "bad"]
    assert hardest_examples(RecordedPredictions((), np.empty(0, np.int64), [], {}, {})).empty
