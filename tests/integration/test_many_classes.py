"""Ten thousand classes, from the file to the comparison."""

import pandas as pd
import pytest

from pipeline.config import CompareConfig, PrepareDataConfig
from pipeline.stages import compare, prepare_data

CLASSES = 10_000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "many.csv"
    rows = [f"text {number} of row {row},class {number:05}" for number in range(CLASSES) for row in range(3)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_ten_thousand_classes_are_prepared_trained_evaluated_and_compared(workspace, dataset, tmp_path):
    given = {"dataset": str(dataset), "model": workspace.options["model"]}
    prepared = prepare_data.run(workspace.config(PrepareDataConfig, **given))
    assert prepared.manifest.rows == dict.fromkeys(("train", "validation", "test"), CLASSES)
    assert prepared.manifest.rows_by_class["test"] == [1] * CLASSES
    run_id = workspace.train(dataset=dataset, epochs=1, max_train_samples=64, max_eval_samples=600)
    workspace.evaluate(run_id)
    predictions = pd.read_csv(workspace.tracker.download(run_id, "predictions.csv", tmp_path))
    assert list(predictions) == ["sentence", "gold", "pred", "score_gold", "score_pred"]
    assert len(predictions) == 600
    assert (predictions["score_pred"] >= predictions["score_gold"]).all()
    report = pd.read_csv(workspace.tracker.download(run_id, "per_class.csv", tmp_path))
    assert report["class"].tolist() == [f"class {number:05}" for number in range(CLASSES)]
    assert report["support"].sum() == 600
    table = compare.run(CompareConfig(study="all", export_dir=str(tmp_path / "exported"))).table
    assert run_id in table["run_ids"].tolist()
    exported = pd.read_csv(tmp_path / "exported" / "results" / "full_test_outputs.csv", dtype=str)
    assert exported["gold"].str.fullmatch(r"class \d{5}").all()
