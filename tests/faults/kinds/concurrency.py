"""Commands that run at the same time on one store."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from .. import process
from ..fault import Baseline, Case, Fault, compare_outcomes
from ..moments import BEGINNING
from ..servers import Database, Server, Store, no_postgresql
from ..stages import STAGES, Stage
from ..workspace import Workspace


class Together(Fault):
    """Cases that are played in their own way."""

    def cases(
        self, stage: Stage, workspace: Workspace, baseline: Baseline, number: int, generator: random.Random
    ) -> list[Case]:
        return [Case(stage, BEGINNING, workspace, baseline) for _ in range(max(1, number // 4))]


class Twice(Together):
    """The same command twice at once: one does it, the other does it, too, or says that it is running already."""

    name = "the same command twice"

    def play(self, case: Case) -> tuple[bool, list[str]]:
        commands = [case.start(), case.start()]
        ended = [command.wait() for command in commands]
        broken = []
        if all(one.status for one in ended):
            broken.append(f"neither ended well: {ended[0].error[:200]} and {ended[1].error[:200]}")
        broken += [
            f"exit status {one.status}: {one.error[:300] or one.output[-300:]}"
            for one in ended
            if one.status not in (0, 1) or "Traceback" in one.output or (one.status and "running already" not in one.error)
        ]
        allowed = {"FINISHED", "FAILED"} if any(one.status for one in ended) else {"FINISHED"}
        if not (statuses := case.read_statuses()) <= allowed:
            broken.append(f"runs are {', '.join(sorted(statuses))}")
        outcome = case.stage.read_outcome(case.workspace)
        twice = sum(not one.status for one in ended) == 2
        # Of commands that both did it there are two; nothing else differs.
        expected = {key: value for key, value in case.baseline.outcome.items() if not (twice and isinstance(value, int))}
        if differing := compare_outcomes(expected, outcome):
            broken.append(f"another result: {differing}")
        litter = [name for name in case.workspace.litter() if name not in case.baseline.litter]
        return True, [*broken, f"litter: {litter}"] if litter else broken


class TwoStudies(Together):
    """Two different studies at once, with one cache and one store: each comes to what it comes to alone."""

    name = "two studies on one store"
    stages = ("main",)

    def play(self, case: Case) -> tuple[bool, list[str]]:
        workspace, stage = case.workspace, STAGES["main"]
        other = stage.arguments(workspace, seed="43")
        alone = process.Command(other, workspace.folder, workspace.environment).wait()
        expected = dict(stage.read_outcome(workspace)["trainings"])
        workspace.restore(stage.template)
        commands = [
            case.start(),
            process.Command(stage.arguments(workspace, seed="43"), workspace.folder, workspace.environment),
        ]
        ended = [alone, *(command.wait() for command in commands)]
        broken = [f"exit status {one.status}: {one.error[:300]}" for one in ended if one.status]
        trainings = stage.read_outcome(workspace)["trainings"]
        if differing := compare_outcomes({**case.baseline.outcome["trainings"], **expected}, trainings):
            broken.append(f"another result: {differing}")
        if (statuses := case.read_statuses()) != {"FINISHED"}:
            broken.append(f"runs are {', '.join(sorted(statuses))}")
        return True, broken


_WRITERS = 8


class Writers(Together):
    """Eight trainings at once, each by another seed: none fails, and each metric has the records that it has alone."""

    stages = ("train",)

    def __init__(self, name: str, make: Callable[[Workspace], Store] | None) -> None:
        """With a store of that make, or with an SQLite file that does not exist yet."""
        self.name, self._make = name, make

    def unavailable(self) -> str:
        return no_postgresql() if self._make is Database else ""

    def play(self, case: Case) -> tuple[bool, list[str]]:
        expected = _records_alone(case)
        if self._make is None:
            shutil.rmtree(case.workspace.store)
            case.workspace.store.mkdir()
            return True, self._write(case, expected)
        store = self._make(case.workspace)
        try:
            store.start()
            if isinstance(store, Database):
                store.make_experiment()
            case.environment = {"MLFLOW_TRACKING_URI": store.address}
            return True, self._write(case, expected)
        finally:
            store.stop()

    def _write(self, case: Case, expected: _Records) -> list[str]:
        commands = [_train(case, seed) for seed in expected]
        ended = [command.wait(600) for command in commands]
        broken = [f"exit status {one.status}: {one.error[:300] or one.output[-300:]}" for one in ended if one.status]
        if (statuses := case.read_statuses()) != {"FINISHED"}:
            broken.append(f"runs are {', '.join(sorted(statuses))}")
        if differing := compare_outcomes(expected, _read(case)):
            broken.append(f"other records: {differing}")
        hidden = [path.name for path in case.workspace.store.iterdir() if path.name != "mlflow.db"]
        return [*broken, f"litter: {hidden}"] if hidden else broken


_SEEDS = tuple(str(seed) for seed in range(42, 50))
_Records = Mapping[str, Any]
"""Seed -> metric -> every record; of a seed that has several runs, a list of these."""


def _train(case: Case, seed: str) -> process.Command:
    environment = {**case.workspace.environment, **case.environment}
    return process.Command(case.stage.arguments(case.workspace, seed=seed), case.workspace.folder, environment)


def _records_alone(case: Case) -> _Records:
    """What the trainings come to one after the other; the workspace is put back."""
    for seed in _SEEDS:
        if (ended := _train(case, seed).wait()).status:
            raise RuntimeError(f"a training fails unhurt:\n{ended.output}")
    records = _read(case)
    case.workspace.restore(case.stage.template)
    return records


def _read(case: Case) -> _Records:
    def read() -> _Records:
        from pipeline.tracking import open_tracker

        tracker = open_tracker()
        found: dict[str, Any] = {}
        for run in tracker.search():
            names = [name for name in run.metrics if not name.startswith(("cost/", "system/"))]
            records = {name: tracker.history(run.run_id, name) for name in names}
            seed = run.params["seed"]
            found[seed] = [found[seed], records] if seed in found else records
        return found

    records: _Records = process.call(read, case.workspace.folder, {**case.workspace.environment, **case.environment})
    return records


FAULTS = (
    Twice(),
    TwoStudies(),
    Writers("eight trainings, no store yet", None),
    Writers("eight trainings, one server", Server),
    Writers("eight trainings, PostgreSQL", Database),
)
