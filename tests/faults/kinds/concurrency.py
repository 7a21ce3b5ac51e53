"""Commands that run at the same time on one store."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable

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
        if not twice and (differing := compare_outcomes(case.baseline.outcome, outcome)):
            broken.append(f"another result: {differing}")
        return True, broken


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
        return True, broken


_WRITERS = 8


class Writers(Together):
    """Eight trainings at once: none fails, and every record of every metric is there."""

    stages = ("train",)

    def __init__(self, name: str, make: Callable[[Workspace], Store] | None) -> None:
        """With a store of that make, or with an SQLite file that does not exist yet."""
        self.name, self._make = name, make

    def unavailable(self) -> str:
        return no_postgresql() if self._make is Database else ""

    def play(self, case: Case) -> tuple[bool, list[str]]:
        if self._make is None:
            shutil.rmtree(case.workspace.store)
            case.workspace.store.mkdir()
            return True, self._write(case)
        store = self._make(case.workspace)
        try:
            store.start()
            if isinstance(store, Database):
                store.make_experiment()
            case.environment = {"MLFLOW_TRACKING_URI": store.address}
            return True, self._write(case)
        finally:
            store.stop()

    def _write(self, case: Case) -> list[str]:
        workspace, environment = case.workspace, {**case.workspace.environment, **case.environment}
        commands = [
            process.Command(case.stage.arguments(workspace, seed=str(42 + writer)), workspace.folder, environment)
            for writer in range(_WRITERS)
        ]
        ended = [command.wait(600) for command in commands]
        broken = [f"exit status {one.status}: {one.error[:300] or one.output[-300:]}" for one in ended if one.status]
        counted = process.call(_count_records, workspace.folder, environment)
        [[training]] = case.baseline.outcome["trainings"].values()
        expected = {name: len(records) for name, records in training.items() if isinstance(records, list)}
        if len(counted) != _WRITERS:
            broken.append(f"{len(counted)} runs in place of {_WRITERS}")
        for run_id, counts in counted.items():
            if lost := {name: (counts[name], count) for name, count in expected.items() if counts[name] != count}:
                broken.append(f"run {run_id}: records (there, expected) {lost}")
        hidden = [path.name for path in workspace.store.iterdir() if path.name != "mlflow.db"]
        return [*broken, f"litter: {hidden}"] if hidden else broken


def _count_records() -> dict[str, Counter[str]]:
    """Run -> metric -> how many records of it there are."""
    from pipeline.tracking import open_tracker

    tracker = open_tracker()
    return {
        run.run_id: Counter({name: len(tracker.history(run.run_id, name)) for name in run.metrics}) for run in tracker.search()
    }


FAULTS = (
    Twice(),
    TwoStudies(),
    Writers("eight trainings, no store yet", None),
    Writers("eight trainings, one server", Server),
    Writers("eight trainings, PostgreSQL", Database),
)
