"""Work that two processes must not do at once."""

import pytest

from pipeline.errors import PipelineError
from pipeline.stages.processes.workers import hold_lock


def test_work_that_is_claimed_is_refused_until_it_ends(tmp_path):
    lock = tmp_path / "new" / "work.lock"
    with (
        hold_lock(lock, "search"),
        pytest.raises(PipelineError, match=r"The same search is running already \(lock .*work\.lock\)"),
        hold_lock(lock, "search"),
    ):
        pass
    with hold_lock(lock, "search"):
        pass


def test_an_error_ends_the_claim(tmp_path):
    lock = tmp_path / "work.lock"
    with pytest.raises(KeyboardInterrupt), hold_lock(lock, "study"):
        raise KeyboardInterrupt
    with hold_lock(lock, "study"):
        pass
