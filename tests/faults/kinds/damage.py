"""Files that are read back: cut off, with a bit flipped, or in the place of another of their kind."""

from __future__ import annotations

import contextlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.hashing import CHECKSUMS

from ..fault import Baseline, Case, Fault, differs
from ..moments import BEGINNING
from ..process import Ended
from ..stages import EMPTY, INTERRUPTED, Stage
from ..workspace import Workspace

_OURS = ("runs.json", "study.yaml")


class Damaged(Fault):
    """A file that the command reads is damaged before: it is made anew, or named; never is it used in silence."""

    exits = frozenset({1, 2})
    ends_as = frozenset()
    is_felt = False

    def __init__(self, how: str) -> None:
        self.name, self._how = f"file {how}", how

    def template(self, stage: Stage) -> str:
        return f"{INTERRUPTED}-{stage.name}" if stage.template == EMPTY else stage.template

    def cases(
        self, stage: Stage, workspace: Workspace, baseline: Baseline, number: int, generator: random.Random
    ) -> list[Case]:
        folder = workspace.root / self.template(stage)
        files = [folder / name for name in sorted(baseline.read)]
        files = [path for path in files if path.exists() and self._counts(path, folder)]
        generator.shuffle(files)
        ranks: Counter[str] = Counter()
        turns = {path: ranks.update([path.name]) or ranks[path.name] for path in files}
        chosen = sorted(files, key=turns.__getitem__)[:number]  # one of each kind, then another of each
        return [Case(stage, BEGINNING, workspace, baseline, path.relative_to(folder).as_posix()) for path in chosen]

    def _counts(self, path: Path, folder: Path) -> bool:
        name = path.relative_to(folder).as_posix()
        if name in _OURS or path.suffix in (".lock", ".png", ".svg", ".py") or name.startswith("tmp/") or path.name == "lock":
            return False
        if (
            path.suffix == ".db" and self._how == "flipped"
        ):  # SQLite's files carry no checksums (docs/explanation/architecture.md)
            return False
        return bool(path.stat().st_size) and (self._how != "swapped" or _twin(path, folder) is not None)

    @contextlib.contextmanager
    def around(self, case: Case) -> Iterator[None]:
        file = case.workspace.folder / case.variant
        whole = file.read_bytes()
        if self._how == "swapped":
            file.write_bytes(_twin(file, case.workspace.folder).read_bytes())  # type: ignore[union-attr]
        elif self._how == "truncated":
            file.write_bytes(whole[: len(whole) // 2])
        else:
            content = bytearray(whole)
            content[64 if file.suffix == ".parquet" else len(content) // 2] ^= 1
            file.write_bytes(content)
        yield
        if case.hurt is not None and not self.is_done(case, case.hurt):  # it is brought back from a copy
            file.write_bytes(whole)

    def is_done(self, case: Case, hurt: Ended) -> bool:
        """Not where it refused the file, nor where it left out, and said so, what the file belongs to."""
        if hurt.status or Path(case.variant).name not in hurt.output:
            return not hurt.status
        return not differs(case)

    def judge_hurt(self, case: Case, hurt: Ended) -> list[str]:
        broken = super().judge_hurt(case, hurt)
        # Sums that do not match a file may be what is damaged, or the file: then that is named.
        if hurt.status and not {Path(case.variant).name, *self._summed(case)} & set(re.findall(r"[\w.-]+", hurt.output)):
            broken.append(f"{Path(case.variant).name} is not named: {hurt.error[:200]}")
        return broken

    def _summed(self, case: Case) -> Iterator[str]:
        file = case.workspace.folder / case.variant
        if file.name == CHECKSUMS:
            yield from (path.name for path in file.parent.iterdir())


def _twin(file: Path, folder: Path) -> Path | None:
    """Another file of the same name, and another content."""
    content = file.read_bytes()
    return next((path for path in sorted(folder.rglob(file.name)) if path != file and path.read_bytes() != content), None)


FAULTS = tuple(Damaged(how) for how in ("truncated", "flipped", "swapped"))
