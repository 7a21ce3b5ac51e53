"""A saved model is refused where it is damaged or its base is another."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.data.columns import Problem
from pipeline.errors import ConfigError, DamagedModelError, ModelError
from pipeline.hashing import seal
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.saved_model import (
    ModelRecord,
    is_model_folder,
    load_foreign_model,
    load_model_folder,
    read_record,
    write_model_folder,
)


@pytest.fixture
def base(tiny, tmp_path):
    return shutil.copytree(tiny.folder(), tmp_path / "base")


@pytest.fixture
def folder(tiny, base, tmp_path):
    built = tiny.build(create_strategy("partial", {"top_k": 1}), base, tiny.config())
    sha256 = built.address.sha256()
    classes = list(tiny.classes)
    record = ModelRecord(str(base), None, sha256, "partial", {"top_k": 1}, classes, 64, 0.1, 1, 1)
    write_model_folder(tmp_path / "model", built, record)
    return tmp_path / "model"


def test_a_whole_folder_predicts(folder, tiny):
    assert is_model_folder(folder)
    probabilities = load_model_folder(folder).predict_texts(["a fine film", "", "dull " * 200])
    assert probabilities.shape == (3, 2)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1, 1])


def test_it_is_small(folder, base):
    assert (folder / "delta.safetensors").stat().st_size < (base / "model.safetensors").stat().st_size / 2


def test_a_former_name_of_its_objective_is_read_as_todays(folder):
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, "objective": "siamese"}))
    seal(folder)
    assert read_record(folder).objective == "bi_encoder"


def test_another_base_is_refused(folder, base):
    with (base / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=r"was fine-tuned from a base with SHA-256 .* Put the old base back"):
        load_model_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "written in format 99"),
        ({"strategy_args": {"top_k": 2}}, "cannot be put on"),
        ({"classes": ["a", "b", "c"]}, "cannot be put on"),
        ({"head": "mean"}, "cannot be put on"),
        ({"head": "meen"}, "Did you mean 'mean'"),
        ({"surprise": 1}, "missing or damaged"),
        ({"base": "/nowhere/at/all"}, "no such folder"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_changed_record_is_refused(folder, change, message):
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **change}))
    seal(folder)
    with pytest.raises(ModelError, match=message):
        load_model_folder(folder)


def test_a_folder_without_a_head_or_checksums_is_older_than_they_are(folder, caplog):
    record = json.loads((folder / "model.json").read_text())
    assert record.pop("head") == "pooler"
    (folder / "model.json").write_text(json.dumps(record))
    (folder / "checksums.json").unlink()
    assert read_record(folder).head == "pooler"
    assert load_model_folder(folder).predict_texts(["a fine film"]).shape == (1, 2)
    assert "was written by a version without checksums" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_damaged_record_is_refused(folder, content):
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match="missing or damaged"):
        read_record(folder)


def test_a_damaged_delta_is_refused(folder):
    delta = folder / "delta.safetensors"
    delta.write_bytes(delta.read_bytes()[:-7])
    with pytest.raises(DamagedModelError, match=r"delta\.safetensors is missing or damaged"):
        load_model_folder(folder)
    seal(folder)
    with pytest.raises(ModelError, match="cannot be put on"):
        load_model_folder(folder)


def test_a_model_from_elsewhere_needs_a_head_for_these_classes(tiny, base):
    with pytest.raises(ModelError, match="holds no classifier for 2 classes"):
        load_foreign_model(find_model(str(base)), Problem(tiny.classes), 64)
    tiny.build(create_strategy("full", {}), base, tiny.config()).model.save_pretrained(base)
    model, _ = load_foreign_model(find_model(str(base)), Problem(tiny.classes), 512)
    assert model.max_length == 64


@pytest.fixture
def foreign(tiny, base):
    """Writes a whole classifier into the base's folder, and asks for its probabilities: `foreign({0: "x", 1: "y"})`."""

    def load(id2label, labels=(), problem=None):
        if not (base / "whole").exists():
            model = tiny.build(create_strategy("full", {}), base, tiny.config()).model
            model.config.id2label = id2label
            model.config.label2id = {name: index for index, name in id2label.items()}
            model.save_pretrained(base)
        return load_foreign_model(find_model(str(base)), problem or Problem(tiny.classes), 64, labels)

    return load


TEXTS = ["a fine film", "dull " * 5, "witty plot of the story"]


def own_probabilities(base):
    """What transformers makes of the folder by itself, in the order of its own outputs."""
    model = AutoModelForSequenceClassification.from_pretrained(base).eval()
    batch = AutoTokenizer.from_pretrained(base)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits.softmax(-1).numpy()


@pytest.mark.parametrize(
    ("id2label", "labels", "order", "said"),
    [
        ({0: "bad", 1: "good"}, (), [0, 1], ""),
        ({0: "good", 1: "bad"}, (), [1, 0], "outputs stand for good, bad; they are put in the data's order, bad, good"),
        ({0: "GOOD", 1: " Bad"}, (), [1, 0], "stand for GOOD,  Bad"),
        ({0: "LABEL_0", 1: "LABEL_1"}, (), [0, 1], "taken for bad, good, in this order. If it is another, give --model-labels"),
        ({0: "LABEL_0", 1: "LABEL_1"}, ("good", "bad"), [1, 0], ""),
        ({0: "negative", 1: "positive"}, ("bad", "good"), [0, 1], ""),
        ({0: "bad", 1: "good"}, ("good", "bad"), [1, 0], ""),
    ],
    ids=str,
)
def test_the_scores_of_a_model_from_elsewhere_are_those_of_the_classes(foreign, base, id2label, labels, order, said):
    model, note = foreign(id2label, labels)
    assert model.classes == ["bad", "good"]
    assert model.predict_texts(TEXTS) == pytest.approx(own_probabilities(base)[:, order], abs=1e-6)
    assert said in note if said else not note


@pytest.mark.parametrize(
    "id2label", [{0: "negative", 1: "positive"}, {0: "LABEL_1", 1: "LABEL_0"}, {0: "bad", 1: "fine"}], ids=str
)
def test_a_model_from_elsewhere_with_other_classes_is_refused(foreign, id2label):
    message = f"knows the classes {id2label[0]}, {id2label[1]}, but the data has bad, good. .* --model-labels"
    with pytest.raises(ModelError, match=message):
        foreign(id2label)


@pytest.mark.parametrize("labels", [("bad",), ("bad", "bad"), ("bad", "fine"), ("bad", "good", "good")], ids=str)
def test_labels_that_are_not_the_classes_are_refused(foreign, labels):
    with pytest.raises(ConfigError, match=r"--model-labels .*: the data has the classes bad, good\. Name each of them once"):
        foreign({0: "bad", 1: "good"}, labels)


def test_a_classifier_with_more_classes_than_the_data_is_refused(foreign, tiny):
    with pytest.raises(ModelError, match=r"knows the classes bad, good, but the data has a, b, c\. Give data with its classes"):
        foreign({0: "bad", 1: "good"}, problem=Problem(("a", "b", "c")))


@pytest.mark.parametrize("lost", ["bert.pooler", "classifier"])
def test_a_classifier_of_which_a_part_is_missing_is_not_scored(foreign, base, lost):
    foreign({0: "bad", 1: "good"})
    weights = load_file(base / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(lost)}
    assert len(kept) < len(weights)
    save_file(kept, base / "model.safetensors", {"format": "pt"})
    (base / "whole").touch()
    with pytest.raises(ModelError, match=rf"{lost}\S* would be random|would be random, for its weights lack it"):
        foreign({0: "bad", 1: "good"})


def test_a_head_for_tokens_is_no_classifier_of_texts(foreign, base):
    foreign({0: "bad", 1: "good"})
    content = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(content | {"architectures": ["BertForTokenClassification"]}))
    (base / "whole").touch()
    with pytest.raises(ModelError, match=r"holds no classifier for 2 classes \(its head is for another task"):
        foreign({0: "bad", 1: "good"})
