"""What `export` wrote of a model's outputs is read back: their order, thresholds and the length of texts."""

import json
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config import EvaluateConfig
from pipeline.data.columns import Problem
from pipeline.modeling.foreign_folders import ExportedOutputs, read_exported
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.stages import evaluate
from pipeline.stages.testing.exported import read_outputs, with_own_length, with_own_thresholds
from pipeline.tracking.memory import MemoryTracker
from pipeline.training.saved_model import load_foreign_model, load_model_folder

pytestmark = pytest.mark.usefixtures("blank_pictures")

EXACT = 5e-6
THRESHOLD = 0.75
"""At which random weights answer otherwise than by the highest probability."""
TEXTS = ["a fine film", "dull", "a plain story of a film " * 20]


@pytest.fixture(scope="module")
def turned(tiny, tmp_path_factory):
    """A ready classifier that has the data's classes in another order than they have."""
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("base") / "turned"
    shutil.copytree(tiny.folder(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(3)
    labels = {"id2label": {0: "good", 1: "bad"}, "label2id": {"good": 0, "bad": 1}}
    AutoModelForSequenceClassification.from_pretrained(tiny.folder(), **labels).save_pretrained(folder)
    return folder


def ask(folder, problem, length=128):
    """The folder as `evaluate --model` loads it."""
    return load_foreign_model(find_pretrained(str(folder)), problem, length)


@pytest.mark.parametrize("form", ["peft", "transformers"])
def test_a_folder_of_a_turned_base_keeps_the_order_that_was_trained(save, exported, turned, form):
    folder = save("lora", base=turned)
    trained = load_model_folder(folder)
    expected = trained.predict(TEXTS)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 0.01, "else an exchange of classes is not seen"
    output = exported(folder, form).output
    loaded, note = ask(output, trained.problem)
    np.testing.assert_allclose(loaded.predict(TEXTS), expected, atol=EXACT)
    assert "are put in the data's order" not in note
    back, note = ask(output, Problem(("good", "bad")))
    np.testing.assert_allclose(back.predict(TEXTS)[:, ::-1], expected, atol=EXACT)
    assert "stand for bad, good; they are put in the data's order" in note


def test_the_hash_of_an_exported_adapter_is_of_its_labels_too(save, exported, turned):
    output = exported(save("lora", base=turned), "peft").output
    before = find_pretrained(str(output)).sha256()
    (output / "labels.json").write_text(json.dumps({**json.loads((output / "labels.json").read_text()), "labels": ["x", "y"]}))
    again = find_pretrained(str(output))
    assert again.sha256() != before
    assert again.config["id2label"] == {"0": "x", "1": "y"}


@pytest.mark.parametrize("classes", [("bad", "good"), ("bad", "good", "ugly")])
def test_whoever_loads_an_adapter_by_its_card_has_the_outputs_by_name(save, exported, turned, tiny, classes):
    from peft import AutoPeftModelForSequenceClassification

    folder = save("lora", base=turned if len(classes) == 2 else tiny.folder(), classes=classes)
    output = exported(folder, "peft").output
    card = (output / "README.md").read_text()
    code, known = card.partition("```python\n")[2].partition("```")[0], {}
    with redirect_stdout(StringIO()):
        exec(code, known)
    named = dict(enumerate(classes))
    assert known["model"].config.id2label == named
    expected = load_model_folder(folder).predict(["a gripping film"])
    with torch.no_grad():
        np.testing.assert_allclose(known["model"](**known["tokens"]).logits.numpy(), expected, atol=EXACT)
    labels = {"id2label": named, "label2id": {name: index for index, name in named.items()}}
    model = AutoPeftModelForSequenceClassification.from_pretrained(output, **labels, ignore_mismatched_sizes=True).eval()
    with torch.no_grad():
        np.testing.assert_allclose(model(**known["tokens"]).logits.numpy(), expected, atol=EXACT)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"0": "bad", "1": "good"}',
        '{"labels": ["bad", "good"]}',
        '{"format": "peft", "label_type": "class", "labels": "bad", "max_length": 32, "long_texts": "head"}',
        '{"format": "peft", "label_type": "class", "labels": ["bad"], "max_length": 0, "long_texts": "head"}',
        '{"format": "peft", "label_type": "class", "labels": ["bad"], "max_length": 32, "long_texts": "tail"}',
        "no JSON",
    ],
)
def test_a_file_of_that_name_by_another_tool_says_nothing(tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    assert read_exported(tmp_path) is None
    assert read_exported(tmp_path / "nowhere") is None


MADE = ExportedOutputs("transformers", "class", ("bad", "good"), 256, "head", 0.75)


def test_the_length_is_the_model_s_own_unless_it_was_typed():
    assert with_own_length(EvaluateConfig(), MADE).max_length == 256
    typed = EvaluateConfig(max_length=64, explicit=("max_length",))
    assert with_own_length(typed, MADE).max_length == 64


def test_thresholds_go_with_their_labels(save, exported):
    folder = save("full", multi=True, validation={"threshold_1": 0.3, "threshold_2": 0.6})
    output = exported(folder, "transformers").output
    address = find_pretrained(str(output))
    for classes, thresholds in ((("bad", "good"), (0.3, 0.6)), (("good", "bad"), (0.6, 0.3))):
        model = ask(output, Problem(classes, multi=True))[0]
        made = read_outputs(address)
        assert with_own_thresholds(model, made, address, ()).task.thresholds == thresholds
        other = replace(made, label_type="class")
        assert with_own_thresholds(model, other, address, ()).task == model.task, "of another kind of labels"


def test_a_threshold_holds_for_classes_in_another_order(save, exported, tiny):
    folder = save("full", validation={"threshold": 0.75})
    texts = pd.read_csv(tiny.csv(rows=60))["text"].tolist()
    trained = load_model_folder(folder)
    expected = trained.task.answer(trained.predict(texts))["label"].tolist()
    address = find_pretrained(str(exported(folder, "transformers").output))
    for classes in (("bad", "good"), ("good", "bad")):
        model = load_foreign_model(address, Problem(classes), 128)[0]
        model = with_own_thresholds(model, read_outputs(address), address, ())
        assert model.task.answer(model.predict(texts))["label"].tolist() == expected


@pytest.mark.parametrize(("strategy", "form"), [("full", "transformers"), ("lora", "peft")])
def test_evaluate_answers_as_the_model_that_was_exported(save, exported, tiny, capsys, strategy, form):
    data = str(tiny.csv(rows=200))
    folder = save(strategy, validation={"threshold": THRESHOLD})
    output = exported(folder, form).output
    tracker, read = MemoryTracker(), {}
    for model in (folder, output):
        result = evaluate.run(EvaluateConfig(model=str(model), dataset=data, latency_seconds=0), tracker)
        read[model] = pd.read_csv(tracker.artifact(result.run_id, "predictions.csv"))
    assert read[output]["pred"].tolist() == read[folder]["pred"].tolist()
    by_half = np.where(read[output]["score_good"] > 0.5, "good", "bad")
    assert by_half.tolist() != read[output]["pred"].tolist(), "else the threshold changes nothing"
    said = " ".join(capsys.readouterr().out.split())
    assert f"--model {output}: was written by export. It reads 32 tokens at most, and decides by its threshold: good" in said
    assert tracker.get(result.run_id).params["max_length"] == "32"


def test_how_long_texts_were_read_is_said_where_it_was_otherwise(save, exported, tiny, capsys):
    output = exported(save("full", long_texts="windows"), "transformers").output
    evaluate.run(EvaluateConfig(model=str(output), dataset=str(tiny.csv(rows=60)), latency_seconds=0), MemoryTracker())
    said = " ".join(capsys.readouterr().out.split())
    assert "read long texts by --long-texts windows, and by head here. Give --long-texts windows to test it so." in said
