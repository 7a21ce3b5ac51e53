"""An export takes the place of an earlier one, and of nothing else."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SystemFailureError
from pipeline.stages.study.export_folder import MARKER, check_export_folder, exporting


@pytest.fixture
def target(tmp_path):
    return tmp_path / "exported"


def write(target: Path, files: dict[str, str], keep: tuple[str, ...] = ()) -> None:
    with exporting(target) as (scratch, kept):
        for name, text in files.items():
            (scratch / name).parent.mkdir(exist_ok=True)
            (scratch / name).write_text(text)
        kept |= set(keep)


def content(target: Path) -> dict[str, str]:
    return {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()}


FIRST = {
    "results/results.md": "1",
    "results/confusions.csv": "1",
    "results/a_test_outputs.csv": "1",
    "models/lora/model.json": "1",
}


def test_a_second_export_takes_the_place_of_the_first(target):
    write(target, FIRST)
    assert content(target).keys() == {*FIRST, MARKER}
    write(target, {"results/results.md": "2", "models/full/model.json": "2"}, keep=("results/a_test_outputs.csv",))
    found = content(target)
    assert found.pop(MARKER)
    assert found == {
        "results/results.md": "2",
        "results/a_test_outputs.csv": "1",
        "models/lora/model.json": "1",
        "models/full/model.json": "2",
    }
    write(target, FIRST)
    assert content(target).keys() == {*FIRST, "models/full/model.json", MARKER}


@pytest.mark.parametrize(
    "name", ["results/mine.csv", "results/results.md", "models/lora/weights.bin", "models/notes.txt", "models"]
)
def test_files_of_somebody_else_are_left_alone_and_named(target, name):
    (target / name).parent.mkdir(parents=True)
    (target / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"--export-dir .*: {name} was not written by this project\. Nothing of it"):
        check_export_folder(target)
    with pytest.raises(ConfigError):
        write(target, FIRST)
    assert content(target) == {name: "mine"}


@pytest.mark.parametrize("name", ["results", "models", "models/lora", "results/results.md"])
@pytest.mark.parametrize("leads", ["somewhere", "nowhere"])
def test_links_are_refused(target, tmp_path, name, leads):
    if leads == "somewhere":
        (tmp_path / leads).mkdir()
    (target / name).parent.mkdir(parents=True)
    (target / name).symlink_to(tmp_path / leads)
    with pytest.raises(ConfigError, match=f"{name} is a link"):
        write(target, FIRST)
    assert (target / name).is_symlink()
    assert not list(tmp_path.glob("somewhere/*"))


def test_a_file_of_ours_that_was_edited_is_theirs(target):
    write(target, FIRST)
    (target / "results/results.md").write_text("with notes")
    with pytest.raises(ConfigError, match=r"results/results\.md was changed after it was exported"):
        write(target, FIRST)
    assert content(target)["results/results.md"] == "with notes"
    (target / "results/results.md").unlink()
    write(target, FIRST)


def test_what_is_put_there_meanwhile_is_left_alone(target):
    def meanwhile() -> None:
        with exporting(target) as (scratch, _):
            (scratch / "results/results.md").write_text("ours")
            (target / "results").mkdir()
            (target / "results/results.md").write_text("mine")

    with pytest.raises(ConfigError, match="was not written by this project"):
        meanwhile()
    assert content(target) == {"results/results.md": "mine"}


def test_what_lies_beside_and_hidden_files_are_no_matter(target):
    for name in ("notes.txt", "results/.DS_Store", "data/results.md"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("mine")
    write(target, FIRST)
    write(target, {})
    assert {name for name, text in content(target).items() if text == "mine"} == {
        "notes.txt",
        "results/.DS_Store",
        "data/results.md",
    }


def test_a_damaged_marker_protects_everything(target):
    write(target, FIRST)
    (target / MARKER).write_text((target / MARKER).read_text().replace("results.md", "resultz.md"))
    with pytest.raises(ConfigError, match="and 1 more"):
        write(target, FIRST)


@pytest.mark.parametrize("dies_at", range(1, 9))
def test_killed_at_any_moment_the_next_export_works(target, monkeypatch, dies_at):
    write(target, FIRST)
    replace, calls = Path.replace, []

    def die(path, to):
        calls.append(to)
        if len(calls) == dies_at:
            raise KeyboardInterrupt
        return replace(path, to)

    second = dict.fromkeys(FIRST, "2")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        try:
            write(target, second)
        except KeyboardInterrupt:
            assert dies_at <= 6  # two times the marker, four files
    write(target, second)
    found = content(target)
    del found[MARKER]
    assert found == second


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "The disk is full"),
        (PermissionError(13, "Permission denied"), "permission denied"),
    ],
)
def test_what_the_system_refuses_leaves_the_first_export(target, error, said):
    write(target, FIRST)
    before = content(target)
    with pytest.raises(SystemFailureError, match=said), exporting(target):
        raise error
    assert content(target) == before
