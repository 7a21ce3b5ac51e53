"""What a study hands to a process."""

import pytest
from filelock import FileLock

from pipeline.config import EvaluateConfig, TrainConfig
from pipeline.stages.study.tasks import EvaluationTask, TrainingTask
from pipeline.tracking.tags import Tag


@pytest.mark.parametrize(("is_held", "is_repeated", "waits"), [(False, False, 0), (True, False, 1), (False, True, 1)])
def test_whoever_is_still_at_a_training_is_waited_for(tmp_path, monkeypatch, is_held, is_repeated, waits):
    asked = []
    monkeypatch.setattr(TrainingTask, "_wait_for_lost", lambda self: asked.append(self.number) or "")
    monkeypatch.setattr(TrainingTask, "_train", lambda self: "run")
    monkeypatch.setattr(EvaluationTask, "run", lambda self: self.config.run_id)
    lock, tags = FileLock(tmp_path / "lock"), {Tag.WORKERS: "1"}
    task = TrainingTask(0, "full", TrainConfig(), "study", {}, tags, tmp_path / "lock", EvaluateConfig(), is_repeated)
    if is_held:  # as by a process of a study that was killed, which ends its step
        lock.acquire()
    assert task.run() == "run"
    assert len(asked) == waits
    lock.release()
