"""What `evaluate` measures of answering, on a real store: encoders, adapters as they are and merged, baselines."""

import dataclasses

import numpy as np
import pytest

from pipeline.config import CompareConfig, EvaluateConfig, TrainConfig
from pipeline.errors import ConfigError
from pipeline.stages import compare, evaluate, train
from pipeline.stages.testing import answering
from pipeline.stages.testing.answering import merge_adapters
from pipeline.tracking.provenance import hardware
from pipeline.tracking.tags import Tag
from pipeline.training.saved_model import load_model_folder

pytestmark = pytest.mark.usefixtures("blank_pictures")

TIMES = {"latency_ms_median", "latency_ms_low", "latency_ms_high", "latency_ms_p99"}
TIMES |= {"predict_examples_per_second", "predict_batch_size"}
COSTS = {f"cost/{name}" for name in TIMES | {"latency_calls", "predict_peak_rss_mb", "predict_disk_mb"}}
MERGED = {f"cost/merged_{name}" for name in TIMES | {"disk_mb", "largest_difference"}}
MERGEABLE = ("lora", "dora", "rslora", "ia3", "adalora", "oft", "vera")
EPOCH = {"epochs": 1, "max_train_samples": 32}


def train_baseline(workspace):
    config = TrainConfig(strategy="tfidf", dataset=workspace.options["dataset"], max_train_samples=32)
    return train.run(config).run_id


@pytest.fixture(scope="module")
def trained(workspace):
    encoders = {name: workspace.train(strategy=name, **EPOCH) for name in ("full", "lora")}
    return {**encoders, "tfidf": train_baseline(workspace)}


@pytest.fixture(scope="module")
def measured(workspace, trained):
    for run_id in trained.values():
        workspace.evaluate(run_id)
    return {name: workspace.tracker.get(run_id) for name, run_id in trained.items()}


def test_every_kind_of_model_is_measured_and_adapters_merged_too(measured):
    for name, run in measured.items():
        there = {metric for metric in run.metrics if metric in COSTS | MERGED}
        assert there == COSTS | (MERGED if name == "lora" else set())
        assert (
            run.metrics["cost/latency_ms_low"] <= run.metrics["cost/latency_ms_median"] <= run.metrics["cost/latency_ms_high"]
        )
        assert run.tags[Tag.PREDICT_SETTING] == hardware()
    costs = {name: run.metrics for name, run in measured.items()}
    assert costs["lora"]["cost/merged_largest_difference"] < 1e-4
    assert (
        costs["full"]["cost/predict_disk_mb"] > costs["lora"]["cost/predict_disk_mb"] > costs["tfidf"]["cost/predict_disk_mb"]
    )
    assert costs["lora"]["cost/artifact_mb"] < costs["lora"]["cost/merged_disk_mb"] < costs["full"]["cost/predict_disk_mb"]


def test_scores_are_the_same_to_the_bit_without(workspace, trained, measured):
    before = {name: value for name, value in measured["lora"].metrics.items() if name.startswith("test/")}
    workspace.evaluate(trained["lora"], force=True, latency_seconds=0)
    after = workspace.tracker.get(trained["lora"]).metrics
    assert {name: after[name] for name in before} == before
    assert after["cost/latency_ms_median"] == measured["lora"].metrics["cost/latency_ms_median"], "not measured again"


def test_what_was_tested_without_is_measured_later_and_once(workspace, monkeypatch):
    run_id = workspace.train(strategy="bitfit", **EPOCH)
    workspace.evaluate(run_id, latency_seconds=0)
    first = workspace.tracker.get(run_id)
    assert not [name for name in first.metrics if "latency" in name or "predict" in name]
    assert workspace.evaluate(run_id, latency_seconds=0).recorded
    monkeypatch.setattr(evaluate, "log_test", lambda *_: pytest.fail("the test is recorded"))
    assert workspace.evaluate(run_id).recorded
    second = workspace.tracker.get(run_id)
    assert second.metrics.keys() - first.metrics.keys() == COSTS
    monkeypatch.setattr(answering, "time_single", lambda *_: pytest.fail("measured before"))
    assert workspace.evaluate(run_id).recorded


def test_the_table_shows_it(workspace, trained, measured):
    table = compare.run(CompareConfig(run_ids=tuple(trained.values()))).table.set_index("strategy")
    assert table["latency_ms_median"].notna().all()
    assert table["merged_latency_ms_median"].notna().to_dict() == {"full": False, "lora": True, "tfidf": False}
    assert "predict_setting" not in table


@pytest.mark.parametrize("strategy", MERGEABLE)
def test_merged_adapters_answer_as_before(workspace, strategy):
    with workspace.tracker.open_model(workspace.train(strategy=strategy, **EPOCH)) as folder:
        model = load_model_folder(folder)
    texts = ["a good film", "bad", "a bad film with a good end"]
    merged = merge_adapters(model, strategy)
    assert not hasattr(merged.model, "peft_config")
    before = model.predict(texts)
    np.testing.assert_allclose(merged.predict(texts), before, atol=1e-4)
    np.testing.assert_array_equal(model.predict(texts), before, "the model itself is left as it was")


@pytest.mark.parametrize("strategy", ["full", "prefix", "bottleneck", "tfidf"])
def test_what_cannot_be_merged_is_not(workspace, strategy):
    run_id = train_baseline(workspace) if strategy == "tfidf" else workspace.train(strategy=strategy, **EPOCH)
    with workspace.tracker.open_model(run_id) as folder:
        assert merge_adapters(load_model_folder(folder), strategy) is None


def test_what_answers_otherwise_when_merged_is_not_recorded(workspace, trained, monkeypatch, capsys):
    def spoil(model, title):
        merged = merge_adapters(model, title)
        merged.model.classifier.bias.data += 1
        return dataclasses.replace(merged)

    monkeypatch.setattr(answering, "merge_adapters", spoil)
    run_id = workspace.train(strategy="lora", seed=7, **EPOCH)
    workspace.evaluate(run_id)
    assert "with its adapters merged it answers otherwise (by 1)" in capsys.readouterr().out
    assert not workspace.tracker.get(run_id).metrics.keys() & MERGED


def test_on_other_data_nothing_is_timed(workspace, trained):
    with pytest.raises(ConfigError, match="--latency-seconds 3: what answers cost is measured with a run's own test"):
        evaluate.run(
            EvaluateConfig(run_id=trained["full"], split_part="train", latency_seconds=3, explicit=("latency_seconds",))
        )
