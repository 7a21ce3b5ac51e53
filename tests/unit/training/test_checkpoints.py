"""Checkpoints are whole or not there, and fit one model only."""

import pytest
import torch

from pipeline.errors import PipelineError, SystemFailureError
from pipeline.hashing import seal
from pipeline.strategies.base import create_strategy
from pipeline.strategies.methods.full import Full
from pipeline.training import checkpoints as module
from pipeline.training.checkpoints import CheckpointFolder, load_trained_state, trained_state
from pipeline.training.optimizer import build_optimizer


@pytest.fixture
def state(tiny):
    built = tiny.build(create_strategy("partial", {"top_k": 1}), tiny.folder(), tiny.config())
    return built.model, built.parameters, build_optimizer(built.model, built.parameters, 0.0)


def save(folder, state, step, best):
    model, plan, optimizer = state
    folder.save(step, best, model, plan, optimizer, None, {"step": step, "history": [[step, {"val/loss": 0.5}]]}, Full())


def test_newest_and_best_are_kept(tmp_path, state):
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert (folder.steps(), folder.history(), folder.restore(*state, None, Full())) == ([], [], None)
    for step, best, kept in [(2, 2, [2]), (4, 2, [2, 4]), (6, 2, [2, 6]), (8, 8, [8]), (10, 8, [8, 10])]:
        save(folder, state, step, best)
        assert folder.steps() == kept
    assert folder.history() == [(10, {"val/loss": 0.5})]
    assert folder.restore(*state, None, Full())["step"] == 10
    folder.delete()
    assert not folder.path.exists()


@pytest.mark.parametrize("dies_in", ["save_file", "replace"])
def test_dying_while_writing_leaves_the_last_one(tmp_path, state, monkeypatch, dies_in):
    folder = CheckpointFolder(tmp_path)
    save(folder, state, 2, 2)

    def die(*arguments, **keywords):
        raise KeyboardInterrupt

    target = {"save_file": "safetensors.torch.save_file", "replace": "pathlib.Path.replace"}[dies_in]
    with monkeypatch.context() as patch:
        patch.setattr(target, die)
        with pytest.raises(KeyboardInterrupt):
            save(folder, state, 4, 4)
    assert folder.steps() == [2]
    assert folder.restore(*state, None, Full())["step"] == 2
    save(folder, state, 4, 4)
    assert folder.steps() == [4]
    assert not list(tmp_path.glob(".writing-*"))


def test_restore_brings_back_weights_and_chance(tmp_path, state):
    model, plan, _ = state
    folder = CheckpointFolder(tmp_path)
    torch.manual_seed(7)
    save(folder, state, 1, 1)
    drawn, saved = torch.rand(3), trained_state(model, plan)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    folder.restore(*state, None, Full())
    assert torch.equal(torch.rand(3), drawn)
    assert all(torch.equal(saved[name], tensor) for name, tensor in trained_state(model, plan).items())


class FakeScaler:
    """Stands in for the gradient scaler of fp16, which needs a GPU."""

    def __init__(self, scale):
        self.state = {"scale": scale, "_growth_tracker": 3}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_restore_brings_back_the_scale_of_fp16(tmp_path, state):
    folder, (model, plan, optimizer) = CheckpointFolder(tmp_path), state
    folder.save(1, 1, model, plan, optimizer, FakeScaler(1024.0), {"step": 1}, Full())
    fresh = FakeScaler(65536.0)
    folder.restore(*state, fresh, Full())
    assert fresh.state == {"scale": 1024.0, "_growth_tracker": 3}


def test_only_what_differs_from_the_base_is_stored(state):
    model, plan, _ = state
    trained = {p.name for p in plan.parameters if p.location.layer == 3 or p.location.part == "head"}
    assert set(trained_state(model, plan)) == trained


def test_the_head_is_stored_even_where_it_is_frozen(tiny):
    built = tiny.build(create_strategy("bitfit", {}), tiny.folder(), tiny.config())
    assert "classifier.weight" not in {parameter.name for parameter in built.parameters.trainable}
    assert "classifier.weight" in trained_state(built.model, built.parameters)


@pytest.mark.parametrize("change", ["missing", "superfluous", "shape"])
def test_foreign_weights_are_refused(state, change):
    model, plan, _ = state
    before = trained_state(model, plan)
    weights = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    if change == "missing":
        weights.popitem()
    elif change == "superfluous":
        weights["bert.encoder.layer.0.output.dense.bias"] = torch.zeros(32)
    else:
        weights["classifier.weight"] = torch.zeros(3, 32)
    with pytest.raises(ValueError, match="another model or strategy"):
        load_trained_state(model, plan, weights)
    assert all(torch.equal(before[name], tensor) for name, tensor in trained_state(model, plan).items())


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.pt", "progress.json"])
@pytest.mark.parametrize("damage", ["cut", "noise", "gone"])
def test_a_damaged_checkpoint_is_answered_with_the_way_out(tmp_path, state, name, damage):
    folder = CheckpointFolder(tmp_path)
    save(folder, state, 1, 1)
    file = tmp_path / "step-1" / name
    if damage == "gone":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"noise")
    with pytest.raises(PipelineError, match=r"step-1 cannot be read \(.*\)\. Delete .* to train from the beginning"):
        folder.restore(*state, None, Full())
    if name == "progress.json":
        with pytest.raises(PipelineError, match="cannot be read"):
            folder.history()


def best_of(folder, state, step, best):
    model, plan, optimizer = state
    folder.save(step, best, model, plan, optimizer, None, {"step": step, "best_step": best, "history": []}, Full())


@pytest.mark.parametrize(
    ("damaged", "left", "then"),
    [(None, [2, 4], None), (4, [2], "resumes from step 2"), (2, [], "begins anew")],
    ids=["none", "newest", "best"],
)
def test_training_goes_on_from_what_is_whole(tmp_path, state, damaged, left, then):
    """Without the best weights the newest checkpoint is of no use: the end of training may ask for them."""
    folder = CheckpointFolder(tmp_path)
    best_of(folder, state, 2, 2)
    best_of(folder, state, 4, 2)
    if damaged:
        file = tmp_path / f"step-{damaged}" / "trained.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    assert folder.find_usable() == (left[-1] if left else None)
    said = folder.drop_damaged()
    assert folder.steps() == left
    assert [then in line and f"step-{damaged}/trained.safetensors" in line for line in said] == [True] * (damaged is not None)
    restored = folder.restore(*state, None, Full())
    assert (restored or {}).get("step") == (left[-1] if left else None)


@pytest.mark.parametrize("name", ["optimizer.pt", "progress.json"])
def test_of_the_best_checkpoint_only_its_weights_are_needed(tmp_path, state, name):
    """Else a training would resume, and fail at its end."""
    folder = CheckpointFolder(tmp_path)
    best_of(folder, state, 2, 2)
    best_of(folder, state, 4, 2)
    (tmp_path / "step-2" / name).write_bytes(b"noise")
    assert (folder.find_usable(), folder.drop_damaged()) == (4, [])
    folder.load_weights(2, *state[:2])


def test_a_checkpoint_that_cannot_be_written_leaves_nothing_half_written(tmp_path, state, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    save(folder, state, 2, 2)

    def fail(*arguments):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598") from OSError(28, "No space")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(SystemFailureError, match=rf"The disk is full \({tmp_path}\)"):
        save(folder, state, 4, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


def test_a_checkpoint_cannot_run_code(tmp_path, state):
    class Evil:
        def __reduce__(self):
            return (module.shutil.rmtree, (str(tmp_path),))

    folder = CheckpointFolder(tmp_path)
    save(folder, state, 1, 1)
    torch.save({"optimizer": Evil(), "generators": {}, "strategy": {}}, tmp_path / "step-1" / "optimizer.pt")
    seal(tmp_path / "step-1")
    with pytest.raises(
        PipelineError, match=r"holds Python objects \(shutil\.rmtree\), which training does not write"
    ) as raised:
        folder.restore(*state, None, Full())
    assert "weights_only" not in str(raised.value), "torch advises to switch the safety off"
    assert folder.steps() == [1]
