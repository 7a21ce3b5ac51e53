import numpy as np

from pipeline.comparison.breakdown import hardest_examples
from pipeline.comparison.predictions import read_predictions
from pipeline.tracking.memory import MemoryTracker


def test_predictions_come_back_as_they_were_written() -> None:
    tracker = MemoryTracker()
    ids = []
    contents = [
        'sentence,gold,pred,score_01,score_1\n"a, ""b""\r\nc",01,1,0.25,0.75\nNA,1,1,0.1,0.9\n',
        'sentence,gold,pred,score_01,score_1\n"a, ""b""\r\nc",01,01,0.5,0.5\nNA,1,1,0.3,0.7\n',
        "sentence,gold,pred,score_01,score_1\nother,1,1,0.5,0.5\nNA,1,1,0.3,0.7\n",
        None,
    ]
    for content in contents:
        logger = tracker.start("run")
        ids.append(logger.run_id)
        if content:
            logger.log_text(content, "predictions.csv")
            logger.log_text("class,precision\n01,1\n1,1\nNA,0\n", "per_class.csv")
    found = read_predictions([tracker.get(run_id) for run_id in ids], tracker)
    assert found.run_ids == ids[:2]
    assert found.texts == ['a, "b"\r\nc', "NA"]
    assert found.classes == ["01", "1", "NA"]
    assert found.gold.tolist() == [0, 1]
    assert [values.tolist() for values in found.predicted.values()] == [[1, 1], [0, 1]]
    assert found.confidence[ids[0]].tolist() == [0.75, 0.9]
    assert "holds other test texts" in found.missing[ids[2]]
    assert "no artifact" in found.missing[ids[3]]


def test_scores_are_no_classes_and_a_cosine_is_no_probability() -> None:
    tracker = MemoryTracker()
    contents = {
        "bi_encoder": "sentence,sentence_pair,gold,pred,score\na,b,same,same,0.91\nc,d,other,same,0.8\n",
        "cross": "sentence,sentence_pair,gold,pred,score_other,score_same\na,b,same,same,0.1,0.9\nc,d,other,other,0.7,0.3\n",
        "scores": "sentence,sentence_pair,gold,pred,score\na,b,1.5,1.2,0.3\nc,d,0.5,0.1,0.02\n",
    }
    ids = {}
    for name, content in contents.items():
        logger = tracker.start(name)
        logger.log_text(content, "predictions.csv")
        logger.log_metrics({"test/spearman": 0.5} if name == "scores" else {"test/f1_macro": 0.5})
        ids[name] = logger.run_id
    found = read_predictions([tracker.get(run_id) for run_id in ids.values()], tracker)
    assert found.run_ids == [ids["bi_encoder"], ids["cross"]]
    assert not found.missing
    assert found.texts == [("a", "b"), ("c", "d")]
    assert np.isnan(found.confidence[ids["bi_encoder"]]).all()
    assert found.confidence[ids["cross"]].tolist() == [0.9, 0.7]
    hardest = hardest_examples(found)
    assert hardest[["sentence", "sentence_pair", "gold", "usual_mistake"]].to_numpy().tolist() == [["c", "d", "other", "same"]]
