"""What an interrupted training has left on disk."""

from types import SimpleNamespace

import pytest

from pipeline.errors import ConfigError
from pipeline.stages.resume_training import Attempt, claim_attempt, drop_left_behind
from pipeline.training.checkpoints import CheckpointFolder


@pytest.fixture
def attempt(tmp_path):
    return Attempt(CheckpointFolder(tmp_path / "checkpoints"))


def test_it_goes_on_in_the_precision_that_it_began_in(attempt, tmp_path):
    attempt.note("a-run", "bf16", "code")
    later = Attempt(CheckpointFolder(tmp_path / "checkpoints"))
    later.read("code")
    assert (later.run_id, later.choose_precision("fp32")) == ("a-run", "bf16")


def test_one_by_other_code_is_known_but_decides_nothing(attempt, tmp_path):
    attempt.note("a-run", "bf16", "other code")
    later = Attempt(CheckpointFolder(tmp_path / "checkpoints"))
    later.read("code")
    assert (later.run_id, later.goes_on, later.choose_precision("fp32")) == ("a-run", False, "fp32")


def test_a_new_one_computes_as_the_option_says(attempt):
    attempt.read("code")
    assert (attempt.run_id, attempt.choose_precision("fp32")) == (None, "fp32")


def test_a_precision_that_this_machine_lacks_is_answered_with_the_way_out(attempt, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    attempt.note("a-run", "fp16", "code")  # on a machine with a GPU
    with pytest.raises(ConfigError, match=r"holds an interrupted training in fp16.*delete that folder to begin anew"):
        attempt.choose_precision("auto")


def test_a_typed_precision_that_cannot_work_is_no_matter_of_an_attempt(attempt, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError) as caught:
        attempt.choose_precision("fp16")
    assert "interrupted" not in str(caught.value)


@pytest.mark.parametrize(("noted", "stays"), [("finished", False), ("another", True)])
def test_checkpoints_of_a_finished_run_whose_process_was_killed_are_deleted(tmp_path, noted, stays):
    inputs = SimpleNamespace(config=SimpleNamespace(cache_dir=str(tmp_path)), identity="0123456789abcdef0", code_version="code")
    folder = tmp_path / "checkpoints" / "0123456789abcdef"
    drop_left_behind(inputs, "finished")  # nothing is there
    Attempt(CheckpointFolder(folder)).note(noted, "fp32", "code")
    drop_left_behind(inputs, "finished")
    assert folder.exists() == stays


def test_what_is_made_again_takes_nothing_over_from_another_attempt(tmp_path):
    inputs = SimpleNamespace(config=SimpleNamespace(cache_dir=str(tmp_path)), identity="0123456789abcdef0", code_version="code")
    with claim_attempt(inputs) as interrupted:
        interrupted.note("a-run", "fp32", "code")
        with claim_attempt(inputs, reproduces="a-finished-run") as again:  # also while it trains
            assert again.run_id is None
            again.note("another-run", "fp32", "code")
    with claim_attempt(inputs, reproduces="a-finished-run") as again:
        assert again.run_id == "another-run", "it goes on with itself"
    with claim_attempt(inputs) as interrupted:
        assert interrupted.run_id == "a-run"
