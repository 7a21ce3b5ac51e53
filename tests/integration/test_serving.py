"""What MLflow's scoring server answers with our model, for every shape that it documents."""

import asyncio
import json
import os
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from tiny_encoders import write_like_its_defaults

from pipeline.registry import FAMILIES

TEXTS, SECONDS = ["a fine film", "a dull plot", "the witty story"], ["a great movie", "the stale plot", "it was"]
PAIRS = [list(pair) for pair in zip(TEXTS, SECONDS, strict=True)]
JSON, CSV = "application/json", "text/csv"
LONG = "fine film " * 9_000


class Server:
    """MLflow's application in this process."""

    def __init__(self, uri):
        self.model = mlflow.pyfunc.load_model(uri)
        self.app = scoring_server.init(self.model)

    def ask(self, body, kind=JSON):
        """Status and parsed body of the answer."""
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        sent = []

        async def receive():
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", kind.encode())]
        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers, "query_string": b""}
        asyncio.run(self.app(scope, receive, send))
        answer = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], json.loads(answer)


@pytest.fixture(scope="module")
def run_ids(workspace, tmp_path_factory):
    table = pd.DataFrame(PAIRS * 20, columns=["one", "two"]).assign(verdict=["same", "different"] * 30, n=range(60))
    table["one"] += table["n"].map(" word{}".format)
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    table.to_csv(path, index=False)
    pairs = {"dataset": path, "text_column": "one", "text_pair_column": "two", "label_column": "verdict"}
    return {
        "single": workspace.train(strategy="lora"),
        "pair": workspace.train(strategy="head_only", **pairs),
        "bi_encoder": workspace.train(strategy="bitfit", objective="bi_encoder", **pairs),
    }


@pytest.fixture(scope="module")
def servers(run_ids):
    return {kind: Server(f"runs:/{run_id}/model") for kind, run_id in run_ids.items()}


def shapes(names, rows):
    """Every documented shape of some rows of texts, or pairs of them."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    records = [dict(zip(names, row, strict=True)) for row in rows]
    bare = [row[0] for row in rows] if len(names) == 1 else rows
    more = {**columns, "id": list(range(len(rows)))}
    yield {"dataframe_split": {"columns": list(names), "data": rows}}, JSON
    yield {"dataframe_split": {"columns": ["id", *names], "data": [[7, *row] for row in rows]}}, JSON
    yield {"dataframe_split": {"data": rows}}, JSON
    yield {"dataframe_records": records}, JSON
    yield {"dataframe_records": [{"id": "x", **record} for record in records]}, JSON
    yield {"instances": bare}, JSON
    yield {"instances": rows}, JSON
    yield {"instances": records}, JSON
    yield {"instances": [{**record, "id": 1} for record in records]}, JSON
    yield {"instances": columns}, JSON
    yield {"inputs": bare}, JSON
    yield {"inputs": columns}, JSON
    yield {"inputs": more}, JSON
    yield {"inputs": records}, JSON
    yield {"inputs": {name: [[text] for text in column] for name, column in columns.items()}}, JSON
    yield ",".join(names) + "\n" + "\n".join(map(",".join, rows)), CSV
    yield ",".join(["id", *names]) + "\n" + "\n".join(",".join(["7", *row]) for row in rows), CSV


@pytest.mark.parametrize("kind", ["single", "pair", "bi_encoder"])
def test_every_shape_has_a_row_a_text_and_the_same_answers(servers, kind):
    names, rows = (["text"], [[text] for text in TEXTS]) if kind == "single" else (["text", "text_pair"], PAIRS)
    served = servers[kind]
    expected = served.model.predict(TEXTS if kind == "single" else PAIRS)
    assert len(expected) == len(rows)
    assert expected["tokens_cut"].tolist() == [0] * len(rows)
    asked = list(shapes(names, rows))
    assert len(asked) == 17
    for body, content_type in asked:
        status, answer = served.ask(body, content_type)
        assert status == 200, (body, answer)
        pd.testing.assert_frame_equal(pd.DataFrame(answer["predictions"]), expected, check_dtype=False)


def test_python_has_the_same_answers_for_whatever_holds_the_texts(servers):
    single, pair = servers["single"].model, servers["pair"].model
    expected = single.predict(TEXTS)
    spaced = [f"  {text}\n" for text in TEXTS]
    frame = pd.DataFrame({"id": range(3), "text": TEXTS})
    for given in (pd.Series(TEXTS), tuple(TEXTS), np.array(TEXTS), np.array(TEXTS)[:, None], {"text": TEXTS}, spaced):
        pd.testing.assert_frame_equal(single.predict(given), expected)
    for given in (frame, frame[["text"]].rename(columns={"text": "sentence"}), [{"text": text} for text in TEXTS]):
        pd.testing.assert_frame_equal(single.predict(given), expected)
    pd.testing.assert_frame_equal(single.predict(TEXTS[0]), expected.iloc[:1])
    pd.testing.assert_frame_equal(single.predict({"text": TEXTS[0]}), expected.iloc[:1])
    of_pairs = pair.predict(PAIRS)
    for given in (list(map(tuple, PAIRS)), np.array(PAIRS), {"text": TEXTS, "text_pair": SECONDS}):
        pd.testing.assert_frame_equal(pair.predict(given), of_pairs)
    assert len(pair.predict({"text": "a film", "text_pair": "a movie"})) == 1


REFUSED = {
    "single": (
        ({"inputs": {"review": TEXTS}}, "texts must stand under 'text', and 'text' is not among the keys review."),
        ({"instances": [{"review": text} for text in TEXTS]}, "'text' is not among the keys review."),
        ({"dataframe_records": [{"a": "x", "b": "y"}]}, "The model takes the columns text, and got a, b."),
        ({"inputs": ["a film", {"text": "a plot"}]}, "Row 0: a str stands among objects with the keys text."),
        ({"inputs": ["a film", "  "]}, "Row 1 has an empty text"),
        ({"inputs": ["a film", None]}, "Row 1 has no text, but None (1 such row)."),
        ({"inputs": {"text": None}}, "Row 0 has no text, but None"),
        ({"inputs": {}}, "'text' is not among the keys none."),
        ({"inputs": 7}, "Row 0 has no text, but 7"),
        ({"inputs": []}, "There is no text to predict for."),
        ({"inputs": [["a film", "a plot"]]}, "Row 0 has no text, but a list"),
        ({"inputs": ["a film", "\ud800"]}, "Row 1 holds half of a surrogate pair"),
        ({"inputs": [LONG * 12]}, "Row 0 has a text of 1,080,000 characters, and at most 100,000 are taken."),
        (
            {"dataframe_split": {"columns": ["text"], "data": [["a film"], [None], [5]]}},
            "Row 1 has no text, but None (2 such rows).",
        ),
        ({"dataframe_split": {"columns": ["text"], "data": [["a film"], [""]]}}, "Row 1 has an empty text"),
        ({"messages": [{"role": "user", "content": "a film"}]}, "'text' is not among the keys messages."),
        ("a fine film\na dull plot", "The first line, 'a fine film', looks like a text and not like the name of a column"),
        ("text\n1\n2", "Row 0 has no text, but 1 (2 such rows)."),
        ("text\nfine\nNA", "Row 1 has no text, but nan (1 such row)."),
    ),
    "pair": (
        ({"inputs": TEXTS}, "The model takes pairs of texts, such as"),
        ({"inputs": "a film"}, "The model takes pairs of texts, such as"),
        ({"inputs": [["a", "b", "c"]]}, "The model takes pairs of texts, such as"),
        ({"inputs": {"text": TEXTS}}, "'text_pair' is not among the keys text."),
        ({"inputs": {"text": TEXTS, "text_pair": SECONDS[:2]}}, "there are 3 under 'text' and 2 under 'text_pair'."),
        ({"dataframe_records": [{"text": "a"}]}, "The model takes the columns text and text_pair, and got text."),
        ({"inputs": [["a film", " "]]}, "Row 0 has an empty text"),
        ({"inputs": [["a film", None]]}, "Row 0 has no text, but None"),
        ("a fine film,a movie\nb,c", "is the header text,text_pair missing?"),
    ),
}


@pytest.mark.parametrize(("kind", "body", "reason"), [(kind, *case) for kind, cases in REFUSED.items() for case in cases])
def test_anything_else_is_refused_in_one_sentence(servers, kind, body, reason):
    status, answer = servers[kind].ask(body, CSV if isinstance(body, str) else JSON)
    assert status == 400
    assert reason in answer["message"]
    assert len(answer["message"]) < 200
    assert set(answer) <= {"error_code", "message", "sqlstate", "error_class"}, "no stack trace"


def test_what_is_not_read_of_a_long_text_is_said(servers):
    single, pair = servers["single"], servers["pair"]
    status, answer = single.ask({"inputs": [LONG, "a dull film"]})
    assert status == 200
    assert [row["tokens_cut"] for row in answer["predictions"]] == [18_000 - 62, 0]
    assert pair.ask({"inputs": [[LONG, LONG]]})[1]["predictions"][0]["tokens_cut"] == 36_000 - 61
    assert servers["bi_encoder"].ask({"inputs": [[LONG, "film"]]})[1]["predictions"][0]["tokens_cut"] == 18_000 - 62


def test_the_model_carries_an_example_that_is_answered_and_no_signature(servers):
    for kind, server in servers.items():
        metadata = server.model.metadata
        assert metadata.signature is None, "MLflow would hold what is sent against it before our code sees it"
        example = server.model.input_example
        assert list(example) == (["text"] if kind == "single" else ["text", "text_pair"])
        status, answer = server.ask({"dataframe_split": example.to_dict("split", index=False)})
        assert status == 200
        assert len(answer["predictions"]) == len(example)


def served_files(workspace, run_id, folder):
    """The folder of a run's model, and its files."""
    folder = workspace.tracker.download(run_id, "model", folder)
    return folder, [file for file in folder.rglob("*") if file.is_file()]


def predict_elsewhere(folder, given, tmp_path):
    """Predict for three inputs in a process that has our code from that folder alone."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, json, mlflow\n"
            "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
            "assert len(model.predict(json.loads(sys.argv[2]))) == 3\n"
            "ours = [module.__file__ for name, module in sys.modules.items() if name.partition('.')[0] == 'pipeline']\n"
            "assert len(ours) > 30\n"
            "print([file for file in ours if not file.startswith(sys.argv[1])])",
            str(folder),
            json.dumps(given),
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_folder_holds_what_serving_imports_and_works_by_itself(workspace, run_ids, tmp_path):
    for kind, run_id in run_ids.items():
        folder, files = served_files(workspace, run_id, tmp_path / kind)
        # Families, metrics and accelerations are found by name where the model is loaded; the first two grow, all else not.
        families, metrics = ([file for file in files if file.parent.name == kind] for kind in ("families", "metrics"))
        assert len(families) >= len(FAMILIES.names())
        assert len(files) - len(families) - len(metrics) < 125
        code = [file.relative_to(folder / "code" / "pipeline") for file in files if "code" in file.parts]
        held = {path.as_posix() for file in code for path in (file, *file.parents)}
        assert "modeling" in held
        assert not held & {"stages", "comparison", "tuning", "recipes", "__main__.py", "config/options.py", "modeling/inferred"}
        predict_elsewhere(folder, TEXTS if kind == "single" else PAIRS, tmp_path)


@pytest.mark.slow
def test_what_reads_a_family_off_a_model_goes_with_one_whose_family_was_read_off(workspace, tmp_path):
    write_like_its_defaults(tmp_path / "unknown", True, "layoutlm")
    run_id = workspace.train(model=tmp_path / "unknown", strategy="head_only", epochs=1)
    folder, files = served_files(workspace, run_id, tmp_path / "served")
    assert "family.py" in {file.name for file in files if file.parent.name == "inferred"}
    predict_elsewhere(folder, TEXTS, tmp_path)


def test_what_it_requires_can_be_had_from_the_package_index(workspace, run_ids, tmp_path):
    folder, _ = served_files(workspace, run_ids["single"], tmp_path)
    pins = (folder / "requirements.txt").read_text().split()
    assert any(pin.startswith("torch==") for pin in pins)
    assert [pin for pin in pins if "+" in pin] == [], "a build such as 2.13.0+cpu is not there, so no image could be made"
