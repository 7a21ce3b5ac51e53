"""compare: what it refuses, and what it says of runs that a study never began."""

import pytest

from pipeline.config import CompareConfig
from pipeline.errors import ConfigError, RunError
from pipeline.stages import compare
from pipeline.stages.study.tags import also_called, doubts_in, note_doubts, note_planned, note_taken, planned_in, reused_by
from pipeline.tracking.memory import MemoryTracker


def train(tracker: MemoryTracker, strategy: str, seed: str = "42", parent_id: str | None = None, **params: str) -> str:
    """A run as train and evaluate leave it, without predictions."""
    logger = tracker.start(strategy, parent_id)
    logger.log_params({"seed": seed, **params})
    logger.set_tags(
        {
            "stage": "train",
            "strategy": strategy,
            "data_fingerprint": "f" * 64,
            "config_hash": logger.run_id,
            "settings_hash": strategy,
        }
    )
    logger.log_metrics(
        {
            "test/f1_macro": 0.5,
            "test/accuracy": 0.5,
            "model/trainable_percent": 1.0,
            "model/trainable_params": 1.0,
            "train/loss_mean": 0.1,
        }
    )
    logger.finish("FINISHED")
    tracker.update(logger.run_id, start_time=len(tracker.runs))  # made within one millisecond, they would be equally new
    return logger.run_id


def test_runs_that_cannot_stand_in_one_table_are_refused_by_name() -> None:
    tracker = MemoryTracker()
    first = train(tracker, "lora", max_eval_samples="100")
    second, third = (train(tracker, strategy) for strategy in ("full", "bitfit"))
    with pytest.raises(
        RunError, match=rf"lora \(run {first}\): tested on other data .*max_eval_samples 100, not none"
    ) as caught:
        compare.run(CompareConfig(run_ids=(first, second, third)), tracker)
    assert caught.value.exit_status != 0
    assert not tracker.search({"stage": "compare"})
    assert len(compare.run(CompareConfig(run_ids=(second, third)), tracker).table) == 2


def test_a_metric_that_a_run_lacks_is_refused_before_anything_is_made() -> None:
    tracker = MemoryTracker()
    first, second = (train(tracker, strategy) for strategy in ("full", "lora"))
    tracker.open_for_update(first).log_metrics({"test/nll": 0.4})
    with pytest.raises(ConfigError, match=rf"--ranking-metric nll: lora \(seed 42\) \(run {second}\) lacks test/nll") as caught:
        compare.run(CompareConfig(run_ids=(first, second), ranking_metric="nll"), tracker)
    assert caught.value.exit_status == 2
    assert not tracker.search({"stage": "compare"})


def test_a_study_is_compared_by_what_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = MemoryTracker()
    study = tracker.start("study")
    study.set_tags({"stage": "main"})
    study.log_params({"ranking_metric": "accuracy"})
    for strategy, accuracy in (("full", 0.8), ("lora", 0.9)):
        run_id = train(tracker, strategy, parent_id=study.run_id)
        tracker.open_for_update(run_id).log_metrics({"test/accuracy": accuracy})
    result = compare.run(CompareConfig(study=study.run_id), tracker)
    assert result.table["strategy"].tolist() == ["lora", "full"]
    assert "Rows are compared by accuracy, as --ranking-metric says" in capsys.readouterr().out
    assert tracker.get(result.run_id).params["ranking_metric"] == "accuracy"
    usual = compare.run(CompareConfig(study=study.run_id, ranking_metric="f1_macro"), tracker)
    assert set(usual.table["ranking_metric"]) == {"f1_macro"}
    assert "--ranking-metric" not in capsys.readouterr().out


def test_what_makes_a_study_unfair_stands_in_its_results(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = MemoryTracker()
    study = tracker.start("study")
    study.set_tags({"stage": "main"})
    doubts = [f"Rate {number} was chosen for other data." for number in range(11)]
    note_doubts(study, doubts)
    assert doubts_in(tracker.get(study.run_id), tracker) == tuple(doubts), "in their order"
    train(tracker, "full", parent_id=study.run_id)
    result = compare.run(CompareConfig(study=study.run_id), tracker)
    said = capsys.readouterr().out
    assert all(f"{doubt}\n" in said for doubt in doubts)
    report = tracker.artifact(result.run_id, "report.html").read_text()
    assert all(doubt in report for doubt in doubts)


def test_what_a_study_planned_and_never_began_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = MemoryTracker()
    study = tracker.start("study")
    study.set_tags({"stage": "main"})
    note_planned(study, {"head_only": range(42, 45), "bitfit": range(42, 45), "a: b/../기쁨": range(7, 8)})
    assert planned_in(tracker.get(study.run_id), tracker) == {
        "head_only": range(42, 45),
        "bitfit": range(42, 45),
        "a: b/../기쁨": range(7, 8),
    }
    for seed in ("42", "43"):
        train(tracker, "head_only", seed, study.run_id)
    compare.run(CompareConfig(study=study.run_id), tracker)
    said = capsys.readouterr().out
    missing = "head_only seed 44, bitfit (all 3 seeds), a: b/../기쁨"
    assert f"Planned and missing: {missing}." in said
    assert f"planned and missing: {missing}" in said.split("Limits:")[1].splitlines()[0]
    for seed in ("44", "45"):
        train(tracker, "head_only", seed, study.run_id)
    compare.run(CompareConfig(study=study.run_id), tracker)
    assert "Planned and missing: bitfit (all 3 seeds), a: b/../기쁨." in capsys.readouterr().out


def test_a_run_that_is_named_twice_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = MemoryTracker()
    first, second = (train(tracker, strategy) for strategy in ("full", "lora"))
    result = compare.run(CompareConfig(run_ids=(first, second, first)), tracker)
    assert (len(result.table), result.left_out) == (2, ())
    assert "repeats the same configuration" not in capsys.readouterr().out


def test_a_run_of_another_project_ends_no_comparison_and_is_refused_by_name() -> None:
    tracker = MemoryTracker()
    study = tracker.start("study", tags={"stage": "main"})
    mine = train(tracker, "full", parent_id=study.run_id)
    logger = tracker.start("theirs", tags={"stage": "train"})
    logger.log_params({"seed": "a", "max_eval_samples": "few"})
    logger.log_metrics({"test/f1_macro": 0.9})
    logger.finish("FINISHED")
    for config in (CompareConfig(), CompareConfig(study="all"), CompareConfig(study=study.run_id)):
        assert compare.run(config, tracker).table["run_ids"].tolist() == [mine]
    named = compare.run(CompareConfig(run_ids=(mine, logger.run_id)), tracker)
    assert named.left_out == (f"run {logger.run_id}: made by another project, not by train",)
    with pytest.raises(RunError, match="made by another project, not by train"):
        compare.run(CompareConfig(run_ids=(logger.run_id,)), tracker)


def test_entries_that_are_one_training_are_not_missing(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = MemoryTracker()
    earlier = train(tracker, "bitfit", seed="43")
    study = tracker.start("study", tags={"stage": "main"})
    note_planned(study, {name: range(42, 44) for name in ("full", "again", "slow", "slower")})
    own = [train(tracker, "full", seed, study.run_id) for seed in ("42", "43")]
    tuned = train(tracker, "bitfit", parent_id=tracker.start("tune", study.run_id).run_id)
    for run_id in own:
        for title in ("full", "again", "again"):
            note_taken(study, tracker, tracker.get(run_id), title)
    for run_id in (tuned, earlier):
        for title in ("slow", "slower", "slow"):
            note_taken(study, tracker, tracker.get(run_id), title)
    there = tracker.get(study.run_id)
    assert reused_by(there, tracker) == {tuned: "slow", earlier: "slow"}
    assert also_called(there, tracker) == {run_id: ["again"] for run_id in own} | {tuned: ["slower"], earlier: ["slower"]}
    result = compare.run(CompareConfig(study=study.run_id), tracker)
    said = capsys.readouterr().out
    assert len(result.table) == 2
    assert "lanned and missing" not in said
    assert "again: the same training as full, so the two have one row.\n" in said
    assert said.count("slower: the same training as slow, so the two have one row.\n") == 1
