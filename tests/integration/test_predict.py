"""Labelling a file: every format, interrupted and resumed, and refused where model, options and file do not fit."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from pipeline.config import PredictConfig
from pipeline.data.reading import delimited, tables
from pipeline.stages.predict import run
from pipeline.training.saved_model import FineTunedModel, load_model_folder


@pytest.fixture(scope="module")
def trained(workspace):
    return workspace.train(strategy="full", seed=1, epochs=6, batch_size=8, dropout=0)


@pytest.fixture(scope="module")
def texts(tiny):
    return pd.read_csv(tiny.csv(rows=40, seed=5))["text"].tolist()


@pytest.fixture(scope="module")
def expected(workspace, trained, texts):
    with workspace.tracker.open_model(trained) as folder:
        model = load_model_folder(folder)
        return model.task.answer(model.predict(texts))


@pytest.fixture
def predict(workspace, trained, request):
    """The command line; what was said, and the table that was written."""

    def predict(status=0, **options):
        name = f"labelled-{request.node.name.replace('/', '')}"[:60]
        given = {"run_id": trained, "input": "new.csv", "output": f"{name}.parquet", **options}
        result = workspace.cli("predict", **{name: value for name, value in given.items() if value is not None})
        assert result.exit_code == status, result.output
        return result.output if status else (result.output, pd.read_parquet(given["output"]))

    return predict


def agree(table, expected):
    assert table["label"].tolist() == expected["label"].tolist()
    for name in expected.columns[1:]:
        np.testing.assert_allclose(table[name], expected[name], atol=1e-5)


def test_rows_keep_their_order_and_columns_and_one_without_text_has_no_label(predict, texts, expected, workspace):
    table = pd.DataFrame({"id": range(41), "text": [*texts[:10], "  ", *texts[10:]]})
    table.to_csv("new.csv", index=False)
    said, written = predict()
    assert "Labelled 41 rows of new.csv; 1 have no text, hence no label; texts are from 'text'." in " ".join(said.split())
    assert list(written) == ["id", "text", *expected.columns, "tokens_cut"]
    assert written["id"].tolist() == [str(number) for number in range(41)]
    assert written.loc[10, ["label", "tokens_cut"]].isna().all()
    agree(written.drop(index=10), expected)
    (made,) = workspace.tracker.search({"stage": "predict"})
    assert (made.status, made.metrics["predict/rows"], made.metrics["predict/rows_without_text"]) == ("FINISHED", 41, 1)
    assert made.params["input"] == "new.csv"


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "tsv", "csv.gz"])
def test_what_training_reads_is_read(predict, texts, expected, ending):
    table = pd.DataFrame({"review": texts, "stars": range(40)})
    name = f"new.{ending}"
    if ending == "jsonl":
        table["tags"] = [["a", "b"]] * 40
        table.to_json(name, orient="records", lines=True)
    elif ending == "parquet":
        table.assign(stars=table["stars"].astype("int8"), when=pd.Timestamp("2024-01-01")).to_parquet(name)
    else:
        table.to_csv(name, index=False, sep="\t" if ending == "tsv" else ",")
    _, written = predict(input=name)
    agree(written, expected)
    assert written["stars"].astype(int).tolist() == list(range(40))
    if ending == "jsonl":
        assert list(written["tags"][0]) == ["a", "b"]
    if ending == "parquet":
        assert (written["stars"].dtype, written["when"].dtype.kind) == ("int8", "M")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_is_written_by_its_ending(predict, workspace, trained, texts, expected, ending):
    pd.DataFrame({"text": texts}).to_csv("new.csv", index=False)
    output = f"answers.{ending}"
    result = workspace.cli("predict", run_id=trained, input="new.csv", output=output)
    assert result.exit_code == 0, result.output
    agree(pd.read_csv(output) if ending == "csv" else pd.read_json(output, lines=True), expected)
    again = workspace.cli("predict", run_id=trained, input="new.csv", output=output)
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert workspace.cli("predict", run_id=trained, input="new.csv", output=output, force="true").exit_code == 0


def test_an_interrupted_prediction_goes_on_where_it_was(monkeypatch, workspace, trained, texts, expected, tmp_path):
    monkeypatch.setattr(delimited, "CHUNK", 15)
    pd.DataFrame({"text": texts}).to_csv("new.csv", index=False)
    config = PredictConfig(run_id=trained, input="new.csv", output=str(tmp_path / "out.parquet"))
    calls = []
    whole = FineTunedModel.predict_and_count

    def count(self, inputs):
        calls.append(len(inputs))
        if calls == [1, 15, 15]:
            raise KeyboardInterrupt
        return whole(self, inputs)

    monkeypatch.setattr(FineTunedModel, "predict_and_count", count)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert not (tmp_path / "out.parquet").exists()
    calls.clear()
    assert run(config).rows == 40
    assert calls == [1, 15, 10], "what was labelled is not labelled again; the first call is for the names of the columns"
    agree(pd.read_parquet(tmp_path / "out.parquet"), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    assert [made.status for made in workspace.tracker.search({"stage": "predict"})][:2] == ["FINISHED", "KILLED"]


def test_another_prediction_with_the_same_output_is_refused_from_anywhere(predict, texts, tmp_path):
    pd.DataFrame({"text": texts}).to_csv("new.csv", index=False)
    output = tmp_path / "out.csv"
    (tmp_path / ".out.csv.parts").mkdir()
    with FileLock(tmp_path / ".out.csv.parts" / "lock"):
        said = " ".join(predict(status=1, output=output, cache_dir=str(tmp_path / "elsewhere")).split())
    assert "The same prediction is running already" in said
    assert "Wait for it, or give another --output." in said
    predict(status=2, output=output, text_column="body")
    assert not list(tmp_path.glob(".out*")), "what was refused leaves nothing"


def test_keys_that_begin_below_and_objects_stay_as_they_are(predict, workspace, trained, monkeypatch, texts):
    monkeypatch.setattr(tables, "CHUNK", 15)
    rows = [{"text": text, "meta": {} if number < 20 else {str(number): [{}]}} for number, text in enumerate(texts)]
    rows[30]["customer"] = 7
    lines = [json.dumps(row) for row in rows]
    Path("new.jsonl").write_text("\n".join(lines))
    _, table = predict(input="new.jsonl")
    assert [json.loads(text) for text in table["meta"]] == [row["meta"] for row in rows]
    result = workspace.cli("predict", run_id=trained, input="new.jsonl", output="lines.jsonl")
    assert result.exit_code == 0, result.output
    written = [json.loads(line) for line in Path("lines.jsonl").read_text().splitlines()]
    assert [row["meta"] for row in written] == [row["meta"] for row in rows]
    assert [row["customer"] for row in written] == [row.get("customer") for row in rows]


def test_the_column_of_training_is_that_of_a_folder_too(workspace, tiny, texts, predict, tmp_path):
    table = pd.read_csv(tiny.csv(rows=60)).rename(columns={"text": "body"}).assign(text="something else")
    table.to_csv(tmp_path / "reviews.csv", index=False)
    run_id = workspace.train(strategy="full", epochs=1, dataset=tmp_path / "reviews.csv", text_column="body")
    folder = workspace.tracker.download_model(run_id, tmp_path / "model")
    pd.DataFrame({"text": "something else", "body": texts}).to_csv("new.csv", index=False)
    for given in ({"run_id": run_id}, {"run_id": None, "model": folder}):
        said, _ = predict(**given, force="true")
        assert "texts are from 'body'." in " ".join(said.split())


def test_labels_of_low_probability_are_left_empty(predict, texts, expected):
    pd.DataFrame({"text": texts}).to_csv("new.csv", index=False)
    limit = float(expected.iloc[:, 1:].max(axis=1).median())
    _, written = predict(min_score=limit)
    assert (written["label"].isna() == (written[expected.columns[1:]].max(axis=1) < limit)).all()
    assert 10 <= written["label"].isna().sum() <= 30


def test_names_of_new_columns_can_be_told_apart_from_those_that_are_there(predict, texts, expected):
    pd.DataFrame({"text": texts, "label": "gold"}).to_csv("new.csv", index=False)
    assert "has a column 'label', as --output will" in predict(status=2)
    _, written = predict(prefix="predicted_")
    assert list(written) == ["text", "label", *(f"predicted_{name}" for name in expected.columns), "predicted_tokens_cut"]
    assert set(written["label"]) == {"gold"}
    _, kept = predict(keep_columns="text", force="true")
    assert list(kept) == ["text", *expected.columns, "tokens_cut"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run_id": None}, "predict takes either --run-id or --model, and got neither"),
        ({"model": "folder"}, "got both"),
        ({"input": None}, "predict needs --input"),
        ({"input": "gone.csv"}, "--input gone.csv: no such file"),
        ({"output": "out.xml"}, "--output out.xml: .xml is not written. Give .csv, .jsonl or .parquet"),
        ({"output": "new.csv"}, "is the input itself"),
        ({"text_column": "body"}, "column 'body' not found. Columns: text. Change --text-column"),
        ({"keep_columns": "id"}, "column 'id' not found. Columns: text. Change --keep-columns"),
        ({"text_pair_column": "text"}, "--text-pair-column text: the model takes single texts"),
        ({"min_score": "1.5"}, "--min-score: got '1.5'"),
        ({"run_id": None, "model": "nowhere"}, "--model nowhere: no such folder"),
        ({"run_id": None, "model": "."}, "--model .: holds no model that train wrote"),
        ({"run_id": "0" * 32}, "run"),
        ({"sheet": "1"}, "is no spreadsheet"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_anything_is_written(predict, options, message, texts):
    pd.DataFrame({"text": texts}).to_csv("new.csv", index=False)
    said = predict(status=2, **options)
    assert message in said
    assert "Traceback" not in said


def test_a_folder_and_the_registry_serve_as_well(workspace, trained, texts, expected, tmp_path, predict):
    pd.DataFrame({"text": texts}).to_csv("new.csv", index=False)
    folder = workspace.tracker.download_model(trained, tmp_path)
    _, written = predict(run_id=None, model=folder)
    agree(written, expected)
    workspace.client.create_registered_model("reviews")
    source = workspace.client.get_run(trained).info.artifact_uri + "/model"
    made = workspace.client.create_model_version("reviews", source, trained)
    workspace.client.set_registered_model_alias("reviews", "champion", made.version)
    _, again = predict(run_id=None, model="models:/reviews@champion", force="true")
    agree(again, expected)
    assert "cannot be fetched from the registry" in predict(status=2, run_id=None, model="models:/reviews@nobody", force="true")
