"""What is shown of a training, and when a rule may end it."""

from pipeline.stages.progress import TrainingObserver
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.tags import Tag

SCORES = {"val/loss": 0.5, "val/accuracy": 0.5}


def test_a_training_that_has_come_to_its_end_is_not_ended_early() -> None:
    tracker = MemoryTracker()
    logger = tracker.start("train")
    asked = []

    def worse(step: int, metrics: object) -> bool:
        asked.append(step)
        return True

    observer = TrainingObserver(logger, "full", stop_rule=worse)
    observer.on_step(4, 4)
    observer.on_log(4, SCORES)
    assert (observer.should_stop(), asked) == (False, [])
    assert Tag.PRUNED_AT not in tracker.get(logger.run_id).tags
    observer = TrainingObserver(logger, "full", stop_rule=worse)
    observer.on_step(2, 4)
    observer.on_log(2, SCORES)
    assert (observer.should_stop(), asked) == (True, [2])
    assert tracker.get(logger.run_id).tags[Tag.PRUNED_AT] == "2"
