import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.atomic_io import replace_text, writing
from pipeline.errors import DataError

ROOT = Path(__file__).parents[3]


def write(folder: Path, content: str = "new") -> None:
    with writing(folder, str(folder.parent.parent)) as scratch:
        (scratch / "file").write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_folder_is_there_when_it_is_whole_and_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "kind" / "key"
    write(target, "old")
    with writing(target, str(tmp_path)) as scratch:
        (scratch / "file").write_text("new")
        assert (target / "file").read_text() == "old"
    assert (target / "file").read_text() == "new"
    assert names(tmp_path / "kind") == ["key"]


def test_a_folder_that_is_left_empty_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "kind" / "key"
    write(target, "old")
    inode = target.stat().st_ino
    with writing(target, str(tmp_path)):
        pass
    assert (target.stat().st_ino, (target / "file").read_text()) == (inode, "old")
    assert names(tmp_path / "kind") == ["key"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing_and_the_older_folder_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "kind" / "key"
    write(target, "old")

    def break_off() -> None:
        with writing(target, str(tmp_path)) as scratch:
            (scratch / "file").write_text("half")
            raise error

    with pytest.raises(error):
        break_off()
    assert (target / "file").read_text() == "old"
    assert names(tmp_path / "kind") == ["key"]


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.atomic_io import writing\n"
        "with writing(Path(sys.argv[1]) / 'kind' / 'key', sys.argv[1]) as scratch:\n"
        "    (scratch / 'file').write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL
    [left] = names(tmp_path / "kind")
    assert left.startswith(".writing-")
    write(tmp_path / "kind" / "other")
    assert names(tmp_path / "kind") == ["other"]


def test_what_another_writer_is_at_is_not_removed(tmp_path: Path) -> None:
    begun, done = threading.Event(), threading.Event()

    def second() -> None:
        begun.wait()
        write(tmp_path / "kind" / "second")
        done.set()

    thread = threading.Thread(target=second)
    thread.start()
    with writing(tmp_path / "kind" / "first", str(tmp_path)) as scratch:
        begun.set()
        assert not done.wait(0.3)
        (scratch / "file").write_text("whole")
    thread.join(30)
    assert names(tmp_path / "kind") == ["first", "second"]


def test_a_cache_that_cannot_be_written_is_a_mistake_of_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"--cache-dir .*file: cannot be written .* Give another folder"):
        write(tmp_path / "file" / "kind" / "key")


def test_a_text_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path):
    file = tmp_path / "new" / "note.json"
    for text in ("old", "ünd new"):
        replace_text(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert [path.name for path in file.parent.iterdir()] == ["note.json"]


def test_a_text_that_cannot_be_written_leaves_the_older_one(tmp_path):
    file = tmp_path / "note.json"
    replace_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(file, "\ud800")
    assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


def test_who_writes_alone_removes_what_a_killed_process_left(tmp_path):
    left, of_another = (tmp_path / f".writing-0123456789abcdef-{name}.json" for name in ("note", "other"))
    for path in (left, of_another):
        path.touch()
    replace_text(tmp_path / "note.json", "new")
    assert left.exists(), "another process may be writing it"
    replace_text(tmp_path / "note.json", "new", alone=True)
    assert sorted(tmp_path.iterdir()) == [of_another, tmp_path / "note.json"]


def test_two_that_write_the_same_text_at_once_do_not_hinder_one_another(tmp_path, monkeypatch):
    file, replace = tmp_path / "note.json", Path.replace

    def replace_late(self, target):
        monkeypatch.setattr(Path, "replace", replace)
        replace_text(file, "of another process")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_late)
    replace_text(file, "ours")
    assert file.read_text(encoding="utf-8") == "ours"
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]
