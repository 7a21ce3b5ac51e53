"""What the project keeps for itself and reads back: prepared data, checkpoints, hidden states, notes, records of searches.

Contents come as they are, as a broken disk leaves them, or sealed anew with checksums that fit, as another version may have
written them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline.config import SplitConfig
from pipeline.config.search_ranges import Choices, Integers, LogUniform
from pipeline.data.prepared import prepare
from pipeline.data.splits import SPLITS
from pipeline.hashing import CHECKSUMS, find_damage, list_sealed, read_with_checksum, seal, with_checksum
from pipeline.stages.resume_training import Attempt
from pipeline.strategies.methods.full import Full
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.tuning.budget import Cost
from pipeline.tuning.search import StudyAddress, open_search, peek_search
from pipeline.tuning.space import Space

from ..reader import Reader, Room, make_folder

_SEALED = b"sealed "


def _swap(folder: Path, content: bytes) -> None:
    """Put a content in place of the file that its first line names; after `sealed `, with checksums that fit."""
    name, _, body = content.partition(b"\n")
    files = {file.name.encode(): file for file in sorted(folder.iterdir())}
    file = files.get(name.removeprefix(_SEALED)) or list(files.values())[len(name) % len(files)]
    file.write_bytes(body)
    if name.startswith(_SEALED):
        seal(folder)


def _swap_seeds(folder: Path, longest: int = 3000) -> list[bytes]:
    files = [file for file in sorted(folder.iterdir()) if file.stat().st_size <= longest]
    return [begin + file.name.encode() + b"\n" + file.read_bytes() for file in files for begin in (b"", _SEALED)]


def _names_in(folder: Path) -> list[str]:
    """Names of files, and of what JSON files hold."""
    names = [f"{begin}{file.name}\n" for file in sorted(folder.iterdir()) for begin in ("", _SEALED.decode())]
    for file in folder.glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        names += [f'"{name}": ' for name in content]
    return [*names, "null", "[]", "{}", "1e999", "-1", "true"]


@functools.cache
def _data() -> tuple[Path, Path]:
    """A table, and the cache in which it is prepared."""
    root = make_folder()
    file = root / "table.csv"
    file.write_text("text,label\n" + "".join(f"a {'fine' if row % 2 else 'dull'} film {row},{row % 2}\n" for row in range(16)))
    prepare(str(file), SplitConfig(cache_dir=str(root / "cache")))
    return file, root / "cache"


def _prepared_folder(cache: Path) -> Path:
    (folder,) = (path for path in (cache / "prepared").iterdir() if path.is_dir())
    return folder


def _read_prepared(content: bytes, room: Room) -> None:
    file, whole = _data()
    cache = Path(shutil.copytree(whole, room.given / "cache"))
    _swap(_prepared_folder(cache), content)
    prepared, _ = prepare(str(file), SplitConfig(cache_dir=str(cache)))
    manifest = prepared.manifest
    assert manifest.problem.classes
    for name in SPLITS:
        assert len(prepared.read(name)) == manifest.rows[name]
    prepared.examples()


def _read_checkpoint(content: bytes, room: Room) -> None:
    import torch

    folder = CheckpointFolder(Path(shutil.copytree(_checkpoints(), room.given / "checkpoints")))
    _swap(folder.path / "step-2", content)
    model, plan, optimizer = _training()
    folder.history() if folder.find_usable() == 2 else folder.drop_damaged()
    folder.drop_damaged()
    state = torch.get_rng_state()
    try:
        folder.restore(model, plan, optimizer, None, Full())
    finally:
        torch.set_rng_state(state)


def _training() -> tuple[Any, Any, Any]:
    import torch

    model = torch.nn.Linear(2, 2)
    saved = [SimpleNamespace(name=name, shape=tuple(value.shape)) for name, value in model.named_parameters()]
    return model, SimpleNamespace(saved=saved), torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)


@functools.cache
def _checkpoints() -> Path:
    folder = make_folder()
    model, plan, optimizer = _training()
    model(model.weight).sum().backward()
    optimizer.step()
    for step in (1, 2):
        progress = {"step": step, "best_step": 1, "history": [[1, {"val/loss": 0.5}]]}
        CheckpointFolder(folder).save(step, 1, model, plan, optimizer, None, progress, Full())
    return folder


def _read_checksums(content: bytes, room: Room) -> None:
    (room.given / CHECKSUMS).write_bytes(content)
    (room.given / "a.txt").write_bytes(b"a")
    find_damage(room.given, list_sealed(room.given))
    find_damage(room.given, ["a.txt"])


def _read_notes(content: bytes, room: Room) -> None:
    """The note of an interrupted training."""
    if content.startswith(_SEALED):
        with contextlib.suppress(ValueError, RecursionError):
            content = with_checksum(json.loads(content.removeprefix(_SEALED))).encode()
    attempt = Attempt(CheckpointFolder(room.given))
    attempt.note_file.write_bytes(content)
    with contextlib.suppress(ValueError):  # is said, and the training begins anew
        attempt.read("version")
    assert isinstance(attempt.run_id, str | None)
    with contextlib.suppress(ValueError):
        read_with_checksum(content.decode("utf-8", "replace"))


def _note_seeds() -> list[bytes]:
    noted = {"run_id": "a" * 32, "precision": "fp32", "code_version": "version"}
    return [with_checksum(noted).encode(), _SEALED + json.dumps(noted).encode(), b'"fp32"', with_checksum("bf16").encode()]


_SPACE = Space({"rate": LogUniform(1e-5, 1e-2), "targets": Choices((["query"], "a", 1)), "r": Integers(1, 8)})
_TABLES = {
    "attribute": "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'score'",
    "run": "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'run_id'",
    "checksum": "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'checksum'",
    "parameter": "UPDATE trial_params SET param_value = ?",
    "distribution": "UPDATE trial_params SET distribution_json = ?",
    "state": "UPDATE trials SET state = ?",
    "study": "UPDATE study_user_attributes SET value_json = ?",
}


@functools.cache
def _search() -> Path:
    folder = make_folder()
    search = open_search(StudyAddress.in_file(folder / "search.db", "lora"), _SPACE, "a", "random", 0, lower_is_better=False)
    search.complete(search.ask().number, 0.5, "b" * 32, Cost(1, 1.0, 8))
    search.fail(search.ask().number, "no memory", Cost(1))
    search.ask()
    return folder / "search.db"


def _read_search(content: bytes, room: Room) -> None:
    """A value of the database; the first line says which."""
    name, _, value = content.decode("utf-8", "replace").partition("\n")
    statements = list(_TABLES.values())
    file = Path(shutil.copy(_search(), room.given / "search.db"))
    # SQLite holds some values back itself.
    with contextlib.closing(sqlite3.connect(file)) as connection, contextlib.suppress(sqlite3.Error):
        connection.execute(_TABLES.get(name, statements[len(name) % len(statements)]), [value])
        connection.commit()
    address = StudyAddress.in_file(file, "lora")
    peeked = peek_search(address, _SPACE, "a")
    if peeked is not None:
        peeked.trials()
    search = open_search(address, _SPACE, "a", "random", 0, lower_is_better=False)
    search.trials()
    search.importances()


def _search_seeds() -> list[bytes]:
    values = {"attribute": "0.75", "run": '"b"', "checksum": '{"of": ["score"], "sha256": "0"}', "parameter": "2.0"}
    more = {
        "distribution": '{"name": "IntDistribution", "attributes": {"low": 1, "high": 8}}',
        "state": "PRUNED",
        "study": '"a"',
    }
    return [f"{name}\n{value}".encode() for name, value in {**values, **more}.items()]


def _read_hidden_states(content: bytes, room: Room) -> None:
    import torch

    from pipeline.data.tokenization import TokenTable
    from pipeline.training.activation_cache import ActivationCache

    table = TokenTable(np.arange(6), np.array([0, 2, 6]), np.array([0, 1]))
    cache = ActivationCache(room.given, 2**20)

    def find() -> Any:
        batches = [np.array([0, 1])]
        return cache.find_or_build("a", table, np.array([2, 4]), batches, lambda indices: torch.ones(2, 4, 3))

    states = find()
    assert states is not None
    (entry,) = (path for path in room.given.iterdir() if path.is_dir())
    _swap(entry, content)
    again = find()
    assert again is not None
    with contextlib.closing(states.file), contextlib.closing(again.file):
        again.read(np.array([0, 1]))


def _hidden_seeds() -> list[bytes]:
    about = b'{"width": 3, "dtype": "float32", "build_seconds": 0.1}'
    return [b"about.json\n" + about, _SEALED + b"about.json\n" + about, b"checksums.json\n{}", _SEALED + b"states.bin\n\0\0"]


READERS = (
    Reader(
        "prepared data",
        _read_prepared,
        lambda: _swap_seeds(_prepared_folder(_data()[1])),
        lambda: _names_in(_prepared_folder(_data()[1])),
    ),
    Reader(
        "checkpoint",
        _read_checkpoint,
        lambda: _swap_seeds(_checkpoints() / "step-2"),
        lambda: _names_in(_checkpoints() / "step-2"),
    ),
    Reader(
        "hidden states", _read_hidden_states, _hidden_seeds, lambda: ['"width": ', '"dtype": "', "bfloat16", "int8", "sealed "]
    ),
    Reader("checksums", _read_checksums, lambda: [b'{"a.txt": "0"}', b'["a.txt"]'], lambda: ["a.txt", "..", "/dev/null"]),
    Reader(
        "notes", _read_notes, _note_seeds, lambda: ['"run_id": ', '"precision": ', '"code_version": ', '"sha256": ', "sealed "]
    ),
    Reader(
        "search record", _read_search, _search_seeds, lambda: [*(f"{name}\n" for name in _TABLES), "null", "[]", "{}", "NaN"]
    ),
)
