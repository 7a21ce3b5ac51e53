"""The points of a search trained together leave the runs that each would leave by itself."""

import dataclasses

import pytest

from pipeline.config import TrainConfig
from pipeline.errors import TrainingError
from pipeline.stages import train
from pipeline.stages.search.vmapped_heads import train_heads_together, trains_together
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.tags import Tag
from pipeline.training import vmapped_heads
from pipeline.training.saved_model import load_model_folder

VARIED = [
    {"learning_rate": 1e-2, "batch_size": 16, "epochs": 1, "dropout": 0.0},
    {"learning_rate": 3e-2, "batch_size": 16, "epochs": 2, "weight_decay": 0.3},
    {"learning_rate": 3e-2, "batch_size": 32, "epochs": 2, "warmup_ratio": 0.5, "dropout": 0.3},
]
NOT_COMPARED = {"cost/train_seconds", "cost/wall_seconds", "cost/examples_per_second", "cost/tokens_per_second"}
NOT_COMPARED |= {"cost/model_flops_utilisation", "cost/peak_rss_mb", "cost/grid_seconds", "cost/grid_points"}
NOT_COMPARED |= {"cost/artifact_mb"}  # the figures that a model's record holds are equal but for rounding, and so is their text


@pytest.fixture
def points(tiny, tmp_path):
    base = TrainConfig(
        strategy="head_only",
        model=str(tiny.folder()),
        dataset=str(tiny.csv()),
        dropout=0.1,
        precision="fp32",
        cache_dir=str(tmp_path / "cache"),
        logging_steps=3,
    )
    return [dataclasses.replace(base, **varied) for varied in VARIED]


def test_each_run_is_as_if_trained_by_itself(points, tmp_path, monkeypatch):
    tracker, alone = MemoryTracker(), MemoryTracker()
    parent = tracker.start("search").run_id
    folders = [tmp_path / f"trial-{number}" for number in range(len(points))]
    tags = [{"stage": "trial", Tag.TRIAL: str(number)} for number in range(len(points))]
    calls = []
    original = vmapped_heads.fit_heads
    monkeypatch.setattr(
        "pipeline.stages.search.vmapped_heads.fit_heads", lambda *given: calls.append(given[1]) or original(*given)
    )
    assert trains_together(points)
    outcomes = train_heads_together(points, tracker, parent, tags, folders)
    assert calls == [points], "all at once"
    assert len(outcomes) == len(points)
    for number, (outcome, point) in enumerate(zip(outcomes, points, strict=True)):
        own = tracker.get(outcome.run_id)
        other = alone.get(train.run(point, alone).run_id)
        assert (own.status, own.parent_id, own.tags["stage"], own.tags[Tag.TRIAL]) == ("FINISHED", parent, "trial", str(number))
        assert own.params == other.params
        assert {name for name in own.tags if name != Tag.TRIAL} == set(other.tags)
        for name in ("config_hash", Tag.SETTINGS_HASH, "data_fingerprint", "strategy", Tag.BASE_SHA256):
            assert own.tags[name] == other.tags[name]
        assert set(own.metrics) == {*other.metrics, "cost/grid_seconds", "cost/grid_points"}
        for name in set(other.metrics) - NOT_COMPARED:
            history = tracker.history(own.run_id, name), alone.history(other.run_id, name)
            assert [step for step, _ in history[0]] == [step for step, _ in history[1]], name
            assert [v for _, v in history[0]] == pytest.approx([v for _, v in history[1]], rel=1e-3), name
        for artifact in ("config.json", "parameters.csv", "environment.json"):
            assert tracker.artifact(own.run_id, artifact).read_text() == alone.artifact(other.run_id, artifact).read_text()
        assert own.metrics["cost/grid_points"] == len(points)
        assert not tracker.artifact(own.run_id, "model").exists(), "the caller keeps it"
        texts = ["a fine film", "a dull plot"]
        expected = load_model_folder(alone.download_model(other.run_id, tmp_path / f"alone-{number}")).predict_texts(texts)
        assert load_model_folder(folders[number]).predict_texts(texts) == pytest.approx(expected, abs=1e-5)
    shares = [tracker.get(outcome.run_id).metrics["cost/train_seconds"] for outcome in outcomes]
    assert sum(shares) <= tracker.get(outcomes[0].run_id).metrics["cost/grid_seconds"]
    assert len({tracker.get(outcome.run_id).metrics["cost/peak_rss_mb"] for outcome in outcomes}) == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_a_point_that_fails_stops_no_other(points, failing):
    tracker = MemoryTracker()
    points[failing] = dataclasses.replace(points[failing], learning_rate=1e38)
    outcomes = train_heads_together(points, tracker)
    assert [isinstance(outcome, TrainingError) for outcome in outcomes] == [number == failing for number in range(3)]
    assert sorted(run.status for run in tracker.search()) == ["FAILED", "FINISHED", "FINISHED"]
    peaks = {run.metrics["cost/peak_rss_mb"] for run in tracker.search() if run.status == "FINISHED"}
    assert len(peaks) == 1


def test_what_does_not_train_together(points):
    assert not trains_together(points[:1])
    assert not trains_together([points[0], dataclasses.replace(points[1], seed=7)])
    assert not trains_together([dataclasses.replace(point, strategy="bitfit") for point in points])
