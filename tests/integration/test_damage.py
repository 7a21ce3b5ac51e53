"""One bit is flipped in every file that the project reads back: it is said or made anew, and never used in silence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline.config import MainConfig
from pipeline.stages import main, train
from pipeline.training import loop

pytestmark = pytest.mark.usefixtures("blank_pictures")

# Frozen lower layers, so that their hidden states are kept, too.
TRAINING = {"strategy": "partial", "strategy_args": "top_k=1", "eval_steps": 6, "dropout": "0.2"}
# The first is read by nobody. In the middle of the second is the checksum of a Parquet file, which has another in the manifest.
NOT_READ_BACK = {"tokens/about.json", "prepared/checksums.json"}


def flip(file: Path) -> None:
    """Flip one bit where the content is: in the middle, or of Parquet, which ends with much about itself, at the beginning."""
    content = bytearray(file.read_bytes())
    content[64 if file.suffix == ".parquet" else len(content) // 2] ^= 1
    file.write_bytes(content)


def weights(workspace, run_id, scratch):
    return load_file(workspace.tracker.download_model(run_id, scratch) / "delta.safetensors")


def assert_same(left, right):
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(workspace, tmp_path_factory):
    """A run, evaluated, and what it came to, before anything is damaged."""
    run_id = workspace.train(**TRAINING)
    workspace.evaluate(run_id)
    return run_id, weights(workspace, run_id, tmp_path_factory.mktemp("whole"))


def files_below(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in (folder / kind).rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize("kind", ["prepared", "tokens", "hidden_states"])
def test_damaged_caches_are_made_anew(workspace, whole, tmp_path, kind, caplog):
    cache = workspace.folder / ".cache"
    files = files_below(cache, kind)
    assert {file.name for file in files} >= {
        "prepared": {"manifest.json", "overlap.json", "train.parquet", "validation.parquet", "test.parquet", "checksums.json"},
        "tokens": {"ids.npy", "offsets.npy", "checksums.json"},
        "hidden_states": {"states.bin", "about.json", "checksums.json"},
    }[kind]
    for file in files:
        before = file.read_bytes()
        flip(file)
        caplog.clear()
        name = f"{kind}/{file.name}"
        if file.name == "test.parquet":
            test = workspace.evaluate(whole[0], force=True).test
            assert test == {
                n.removeprefix("test/"): v for n, v in workspace.tracker.get(whole[0]).metrics.items() if n[5:] in test
            }
        else:
            run_id = workspace.train(**TRAINING)
            assert_same(weights(workspace, run_id, tmp_path / file.parent.name / file.name), whole[1])
        if name in NOT_READ_BACK:
            continue
        assert "damaged" in caplog.text, name
        assert "made anew" in caplog.text or "computed anew" in caplog.text, name
        if file.suffix in {".npy", ".parquet", ".bin"}:
            assert file.read_bytes() == before, name


ARTIFACTS: dict[str, tuple[str, Callable[[str], dict[str, str]], int]] = {
    "model/data/fine_tuned/delta.safetensors": ("evaluate", lambda run_id: {"run_id": run_id, "force": "true"}, 1),
    "model/data/fine_tuned/model.json": ("evaluate", lambda run_id: {"run_id": run_id, "force": "true"}, 1),
    "model/data/fine_tuned/checksums.json": ("evaluate", lambda run_id: {"run_id": run_id, "force": "true"}, 1),
    "config.json": ("evaluate", lambda run_id: {"run_id": run_id, "force": "true"}, 1),
    "environment.json": ("reproduce", lambda run_id: {"run_id": run_id}, 1),
    "predictions.csv": ("compare", lambda run_id: {"run_ids": run_id}, 0),
    "manifest.json": ("compare", lambda run_id: {"run_ids": run_id}, 0),
    "per_class.csv": ("compare", lambda run_id: {"run_ids": run_id}, 0),
}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_damaged_artifacts_of_a_run_are_named(workspace, whole, name, caplog):
    stage, options, status = ARTIFACTS[name]
    file = workspace.folder / "artifacts" / whole[0] / "artifacts" / name
    before = file.read_bytes()
    flip(file)
    try:
        result = workspace.cli(stage, **options(whole[0]))
    finally:
        file.write_bytes(before)
    said = " ".join((result.output + caplog.text).split())
    assert (result.exit_code, "Traceback" in said) == (status, False), said
    assert whole[0] in said
    assert file.name in said or file.name == "checksums.json"  # which of the two is damaged nobody can tell
    assert "damaged" in said
    assert workspace.cli("evaluate", run_id=whole[0], force="true").exit_code == 0


def test_every_kind_of_artifact_was_damaged(workspace, whole):
    folder = workspace.folder / "artifacts" / whole[0] / "artifacts"
    texts = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in {".json", ".csv", ".safetensors"}
    }
    # For people, and read by no stage.
    shown_only = {"parameters.csv", "confusion_matrix.csv", "per_length.csv", "reliability.csv"}
    shown_only |= {"model/input_example.json", "model/serving_input_example.json"}
    assert {name for name in texts if not name.startswith("model/code")} - shown_only == set(ARTIFACTS)


def test_an_exported_model_that_is_damaged_is_refused(workspace, whole, tmp_path):
    assert workspace.cli("compare", run_ids=whole[0], export_dir=tmp_path / "exported").exit_code == 0
    [model] = (tmp_path / "exported" / "models").iterdir()
    given = {"model": model, "dataset": workspace.options["dataset"]}
    assert workspace.cli("evaluate", **given).exit_code == 0
    flip(model / "delta.safetensors")
    result = workspace.cli("evaluate", **given)
    assert result.exit_code == 1
    assert "delta.safetensors is missing or damaged" in " ".join(result.output.split())


def interrupt(workspace, monkeypatch, cache: str, evaluations: int) -> Path:
    """Interrupt the training after so many evaluations; the folder of its checkpoints."""
    evaluate, calls = loop._evaluate, []

    def stop(*arguments):
        if len(calls) == evaluations:
            raise KeyboardInterrupt
        calls.append(arguments)
        evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            train.run(workspace.config(**TRAINING, cache_dir=cache))
    [folder] = [path for path in Path(cache, "checkpoints").iterdir() if path.is_dir()]
    return folder


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.pt", "progress.json", "checksums.json", "run.json"])
def test_a_damaged_checkpoint_falls_back_and_ends_the_same(workspace, whole, tmp_path, monkeypatch, capsys, name):
    cache = str(tmp_path / "cache")
    shutil.copytree(workspace.folder / ".cache", cache, ignore=shutil.ignore_patterns("checkpoints"))
    folder = interrupt(workspace, monkeypatch, cache, 3)
    steps = sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    flip(folder / name if name == "run.json" else steps[-1] / name)
    run_id = workspace.train(**TRAINING, cache_dir=cache)
    said = capsys.readouterr().out
    assert "is damaged" in said
    assert f"resumes from step {steps[0].name[5:]}" in said if len(steps) > 1 and name != "run.json" else "begins anew" in said
    assert_same(weights(workspace, run_id, tmp_path / "after"), whole[1])


def test_a_damaged_note_of_a_study_is_said(workspace, tmp_path, monkeypatch, capsys):
    (tmp_path / "study.yaml").write_text(
        "options: {epochs: 1, batch_size: 16}\nstrategies: {head_only: {learning_rate: 0.01}}\n"
    )
    given = {**workspace.options_of_data(), "recipe": tmp_path / "study.yaml", "cache_dir": tmp_path / "cache"}

    def stop(*_arguments, **_keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(main.prepare_data, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            main.run(workspace.config(MainConfig, **given))
        [note] = (tmp_path / "cache" / "studies").glob("*.json")
        flip(note)
        capsys.readouterr()
        with pytest.raises(KeyboardInterrupt):
            main.run(workspace.config(MainConfig, **given))
    assert f"{note.name} is damaged" in capsys.readouterr().out
