"""Exported folders as others load them: in a process that cannot import this project, on the hub, and as rows of the table."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import OfflineModeIsEnabled

from pipeline.config import TrainConfig
from pipeline.hashing import hash_file
from pipeline.stages import train
from pipeline.stages.configure import configure
from pipeline.training.saved_model import load_model_folder

pytestmark = pytest.mark.usefixtures("blank_pictures")

ROUNDING = 1e-5
"""Of merged weights, and of sums in another order; logits are of 1 to 10."""

FRESH = '''
import contextlib, io, json, re, sys

class NotThis:
    """Nobody imports the project."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pipeline":
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, NotThis())
try:
    import pipeline
    raise SystemExit("the project is here")
except ImportError:
    pass
folders, texts, answers = sys.argv[2:], json.loads(sys.argv[1]), {}
for folder in folders:
    code = re.search(r"```python\\n(.*?)```", open(f"{folder}/README.md", encoding="utf-8").read(), re.DOTALL)[1]
    known, heard = {}, io.StringIO()
    with contextlib.redirect_stdout(heard):
        exec(code, known)  # what the card says
    assert heard.getvalue(), folder
    if "session" in known:
        import numpy as np
        rows = known["tokenizer"].encode_batch(texts)
        given = {"input_ids": [row.ids for row in rows], "attention_mask": [row.attention_mask for row in rows]}
        given = {name: np.array(values, np.int64) for name, values in given.items()}
        logits = known["session"].run(None, given)[0]
    else:
        import torch
        model = known["classify"].model if "classify" in known else known["model"]
        tokenizer = known["classify"].tokenizer if "classify" in known else known["tokenizer"]
        with torch.no_grad():
            logits = model(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits.numpy()
    answers[folder] = logits.tolist()
print(json.dumps(answers))
'''


@pytest.fixture(scope="module")
def trained(workspace):
    run_id = workspace.train(strategy="lora", seed=1, epochs=3, learning_rate=2e-2)
    workspace.evaluate(run_id)
    return run_id


@pytest.fixture(scope="module")
def folders(workspace, trained):
    """Format -> folder; what was said of the first is kept."""
    made = {}
    for form in ("transformers", "peft", "onnx", "onnx-int8"):
        result = workspace.cli("export", run_id=trained, format=form, output=f"exported/{form}")
        assert result.exit_code == 0, result.output
        assert "the largest difference of an output to the original's is" in result.output
        made[form] = workspace.folder / "exported" / form
    return made


def test_each_is_loaded_by_who_has_not_this_project(workspace, trained, folders, tiny):
    texts = [*pd.read_csv(tiny.csv(rows=20, seed=7))["text"], "fine", "a story of a film " * 40]
    words = [sys.executable, "-I", "-c", FRESH, json.dumps(texts), *map(str, folders.values())]
    done = subprocess.run(words, cwd=workspace.folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    with workspace.tracker.open_model(trained) as folder:
        expected = load_model_folder(folder, ("off",)).predict(texts)
    assert np.abs(expected).max() > 0.1
    for form, folder in folders.items():
        logits = np.array(answers[str(folder)])
        assert logits.shape == expected.shape
        if form == "onnx-int8":
            assert 0 < np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()
        else:
            np.testing.assert_allclose(logits, expected, atol=ROUNDING, err_msg=form)


def test_the_card_says_scores_as_the_hub_reads_them(workspace, trained, folders):
    run = workspace.tracker.get(trained)
    data = ModelCard.load(folders["transformers"] / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-classification")
    scores = {result.metric_name: result.metric_value for result in data.eval_results}
    assert scores["accuracy"] == pytest.approx(run.metrics["test/accuracy"], abs=1e-6)
    assert {result.dataset_name for result in data.eval_results} == {Path(workspace.options["dataset"]).name}
    text = (folders["transformers"] / "README.md").read_text()
    assert f"| accuracy | {run.metrics['test/accuracy']:.4f} | " in text
    assert " to " in text.partition("| accuracy |")[2].partition("\n")[0], "with its interval"
    quantised = (folders["onnx-int8"] / "README.md").read_text()
    assert "model-index" not in quantised
    assert "**before** the weights were quantised" in quantised
    assert str(workspace.folder) not in text


def test_quantised_it_is_a_row_of_the_table_tested_against_the_original(workspace, trained, folders):
    data = workspace.options["dataset"]
    result = workspace.cli("evaluate", model=folders["onnx-int8"], dataset=data)
    assert result.exit_code == 0, result.output
    (row, *_) = workspace.tracker.search({"strategy": "external"})
    assert row.tags["fairtune.entry"] == "lora (onnx-int8)"
    assert row.tags["fairtune.base_sha256"] == hash_file(folders["onnx-int8"] / "model.onnx"), "a folder may be written anew"
    assert "acceleration" not in row.tags["fairtune.predict_setting"], "else its speed is compared with nothing"
    result = workspace.cli("compare", run_ids=f"{trained},{row.run_id}")
    assert result.exit_code == 0, result.output
    assert "lora (onnx-int8)" in result.output
    (compared, *_) = workspace.tracker.search({"stage": "compare"})
    pairs = pd.read_csv(workspace.tracker.download(compared.run_id, "comparisons.csv", workspace.folder / "read"))
    assert {*pairs.iloc[0, :2]} == {"lora", "lora (onnx-int8)"}


def test_a_run_holds_what_was_written(workspace, folders):
    runs = [run for run in workspace.tracker.search({"stage": "export"}) if run.params["format"] == "onnx"]
    assert runs[0].status == "FINISHED"
    assert runs[0].metrics["export/largest_difference"] < ROUNDING
    size = sum(file.stat().st_size for file in folders["onnx"].iterdir()) / 2**20
    assert runs[0].metrics["export/folder_mb"] == pytest.approx(size)


class Hub:
    """In place of the hub's client."""

    calls: list = []
    error: Exception | None = None

    def create_repo(self, repo_id, **options):
        if self.error:
            raise self.error
        self.calls.append(("create", repo_id, options))
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, **options):
        self.calls.append(("upload", sorted(path.name for path in Path(options["folder_path"]).iterdir()), options))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    return Hub


def test_a_folder_is_pushed_to_a_private_repository(workspace, trained, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    result = workspace.cli("export", run_id=trained, output="pushed", push="me/reviews")
    assert result.exit_code == 0, result.output
    assert "Uploaded to https://hub.example/me/reviews." in result.output
    (_, repository, made), (_, files, sent) = hub.calls
    assert (repository, made["private"], made["exist_ok"], sent["repo_id"]) == ("me/reviews", True, True, "me/reviews")
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert {"adapter_config.json", "adapter_model.safetensors", "model.onnx"} < set(sent["delete_patterns"])
    assert 'model="me/reviews"' in Path("pushed/README.md").read_text(), "where others will find it"
    everything = [path.read_bytes() for path in Path("pushed").iterdir()]
    assert not [content for content in everything if b"hf_secret" in content]
    (run, *_) = workspace.tracker.search({"stage": "export"})
    assert "hf_secret" not in json.dumps([run.params, run.tags, result.output])


def test_a_hub_that_is_not_there_is_said_and_the_folder_stays(workspace, trained, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(hub, "error", OfflineModeIsEnabled("offline"))
    result = workspace.cli("export", run_id=trained, output="kept", push="me/reviews")
    assert result.exit_code == 1
    assert "--push me/reviews: HF_HUB_OFFLINE is set" in result.output
    assert "is whole: run `hf upload me/reviews" in result.output
    assert Path("kept/model.safetensors").is_file()
    assert workspace.tracker.search({"stage": "export"})[0].status == "FAILED"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run_id": None}, "export takes either --run-id or --model, and got neither"),
        ({"model": "folder"}, "got both"),
        ({"output": None}, "export needs --output"),
        ({"output": "."}, "--output .: holds files that export did not write"),
        ({"output": "mlflow.db"}, "--output mlflow.db: is a file"),
        ({"output": "a" * 300}, "cannot be written (File name too long)"),
        ({"format": "onx"}, "--format: got 'onx'. Give one of onnx, onnx-int8, peft, transformers"),
        ({"run_id": None, "model": "nowhere"}, "--model nowhere: no such folder"),
        ({"run_id": "0" * 32}, "run"),
        ({"push": "reviews"}, "--push reviews: whose repository? Give OWNER/NAME"),
        ({"push": "a b/c"}, "is no repository's name"),
        ({"push": "me/reviews"}, "--push me/reviews: needs a token of the hub that may write. Set HF_TOKEN"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_a_run_is_made(workspace, trained, monkeypatch, options, message):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    before = len(workspace.tracker.search())
    given = {"run_id": trained, "output": "refused", **options}
    result = workspace.cli("export", **{name: value for name, value in given.items() if value is not None})
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert len(workspace.tracker.search()) == before
    assert not Path("refused").exists()


def test_an_adapter_of_a_folder_of_this_machine_is_not_pushed(workspace, trained, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    result = workspace.cli("export", run_id=trained, format="peft", output="refused", push="me/reviews")
    assert (result.exit_code, hub.calls) == (2, [])
    assert "which nobody else has. Give --format transformers." in result.output


def test_a_baseline_has_no_place_in_any_format(workspace):
    config = configure(TrainConfig, {"strategy": "majority", "dataset": workspace.options["dataset"]})
    run_id = train.run(config).run_id
    result = workspace.cli("export", run_id=run_id, output="refused")
    assert result.exit_code == 2
    assert "--format transformers: majority trains no encoder, and no format has a place for it" in result.output
    assert "python -m pipeline predict" in result.output
