"""Work that two processes must not do at once."""

import pytest

from pipeline.errors import PipelineError
from pipeline.stages.processes.workers import claim


def test_work_that_is_claimed_is_refused_until_it_ends(tmp_path):
    lock = tmp_path / "new" / "work.lock"
    with (
        claim(lock, "search"),
        pytest.raises(PipelineError, match=r"The same search is running already \(lock .*work\.lock\)"),
        claim(lock, "search"),
    ):
        pass
    with claim(lock, "search"):
        pass


def test_an_error_ends_the_claim(tmp_path):
    lock = tmp_path / "work.lock"
    with pytest.raises(KeyboardInterrupt), claim(lock, "study"):
        raise KeyboardInterrupt
    with claim(lock, "study"):
        pass
