"""What a fault is: how it is injected, to which exit and run statuses it may lead, and what is looked at afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import process
from .moments import Moment, choose_moments, watch
from .stages import STAGES, Outcome, Stage
from .workspace import Workspace, read_statuses


@dataclass(frozen=True)
class Baseline:
    """A stage that nothing hurts."""

    outcome: Outcome
    seconds: float
    litter: Sequence[str]
    calls: Mapping[str, int]
    read: frozenset[str]
    """Files that it opened or made, from its folder."""


@dataclass
class Case:
    """One stage, hurt by one fault at one moment."""

    stage: Stage
    moment: Moment
    workspace: Workspace
    baseline: Baseline
    variant: str = ""
    """What else distinguishes the case, such as the file that is damaged."""
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    hurt: process.Ended | None = None
    """How the command ended that was hurt."""

    @property
    def calls(self) -> Path:
        """Where calls of what writes are counted."""
        return self.workspace.folder / "calls"

    @property
    def injected(self) -> Path:
        """There once the fault was injected."""
        return self.workspace.folder / "calls-injected"

    @property
    def is_in_workspace(self) -> bool:
        """Whether the tracking store is the workspace's file, by itself or behind a server."""
        return not self.environment.get("MLFLOW_TRACKING_URI", "").startswith("postgresql")

    def read_statuses(self) -> set[str]:
        """Of all runs in the store that the command was given."""
        if self.is_in_workspace:
            return set(read_statuses(self.workspace.database).values())

        def read() -> set[str]:
            from pipeline.tracking import open_tracker

            return {run.status for run in open_tracker().search()}

        statuses: set[str] = process.call(read, self.workspace.folder, {**self.workspace.environment, **self.environment})
        return statuses

    def is_first(self) -> bool:
        """Whether nobody injected the fault before; noted by this."""
        try:
            self.injected.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def start(self, before=lambda: None) -> process.Command:  # type: ignore[no-untyped-def]
        """Give the command."""
        arguments = self.stage.arguments(self.workspace, **self.options)
        return process.Command(arguments, self.workspace.folder, {**self.workspace.environment, **self.environment}, before)


class Fault:
    """One fault; a subclass says what it does."""

    name: str
    stages: Sequence[str] = tuple(STAGES)
    exits: frozenset[int] = frozenset({1})
    """How the command that is hurt may end, beside 0."""
    ends_as: frozenset[str] = frozenset({"FAILED"})
    """How runs may be recorded that did not finish; empty where nobody could write it down."""
    is_clean = True
    """Whether the command itself could still take away what was half written, and end its processes."""
    says = ""
    """What the line of error holds, as a regular expression."""
    in_time = False
    """Whether it can be injected from outside, after some time."""
    is_felt = True
    """Whether a moment must have come for the fault to count as injected; else it is there from the beginning."""

    def unavailable(self) -> str:
        """Why it cannot be injected on this machine; empty where it can."""
        return ""

    def template(self, stage: Stage) -> str:
        """What is there before the command."""
        return stage.template

    def cases(
        self, stage: Stage, workspace: Workspace, baseline: Baseline, number: int, generator: random.Random
    ) -> list[Case]:
        """So many cases."""
        chosen = choose_moments(dict(baseline.calls), number, generator, self.in_time)
        return [Case(stage, moment, workspace, baseline) for moment in chosen]

    @contextlib.contextmanager
    def around(self, case: Case) -> Iterator[None]:
        """The cause, until the block ends."""
        yield

    def act(self, case: Case) -> None:
        """Inject it: called at the moment, in the process of the command that is at it."""

    def before(self, case: Case) -> None:
        """Called in the command's process, before it begins."""
        if case.moment.function:

            def told(function: str, call: int, is_after: bool) -> None:
                if (call, is_after) == (case.moment.call, case.moment.is_after) and case.is_first():
                    self.act(case)

            watch([case.moment.function], told, case.calls)

    def meanwhile(self, case: Case, command: process.Command) -> None:
        """Called here while the command runs."""

    def before_again(self, case: Case) -> None:
        """Called in the process of the same command, before it begins again."""

    def play(self, case: Case) -> tuple[bool, list[str]]:
        """Hurt the command, take the cause away, give it again; whether it was hurt, and which promises were broken."""
        with self.around(case):
            command = case.start(lambda: self.before(case))
            self.meanwhile(case, command)
            hurt = case.hurt = command.wait()
        if self.is_felt and not case.injected.exists():
            return False, []
        broken = self.judge_hurt(case, hurt)
        if self.is_done(case, hurt):
            return True, [*broken, *judge_end(case, hurt, self.is_clean)]
        is_second = has_ended_well(case)
        last = case.start(lambda: self.before_again(case)).wait()
        return True, [*broken, *judge_end(case, last, self.is_clean, is_second)]

    def is_done(self, case: Case, hurt: process.Ended) -> bool:
        """Whether the command that was hurt did all that it was to do, so that it need not be given again."""
        return not hurt.status

    def judge_hurt(self, case: Case, hurt: process.Ended) -> list[str]:
        """Which promises the command broke that was hurt."""
        if not hurt.status:
            return []
        broken = []
        if hurt.status not in self.exits:
            broken.append(f"exit status {hurt.status}: {_last_line(hurt)}")
        if "Traceback" in hurt.output:
            broken.append(f"a traceback: {_last_line(hurt)}")
        if hurt.status > 0 and (len(hurt.errors) != 1 or hurt.output.rstrip().rpartition("\n")[2] != hurt.error):
            broken.append(f"does not end with one line of error: {hurt.output[hurt.output.find('Error: ') :][-600:]!r}")
        elif hurt.status > 0 and self.says and not re.search(self.says, hurt.error, re.IGNORECASE):
            broken.append(f"does not say {self.says}: {hurt.error}")
        if hurt.left and self.is_clean:
            broken.append(f"{len(hurt.left)} processes left")
        if self.is_clean and (litter := half_written(case.workspace)):
            broken.append(f"left half written: {', '.join(litter)[:300]}")
        if self.ends_as and hurt.status > 0:
            statuses = case.read_statuses() - {"FINISHED"}
            if not statuses <= self.ends_as:
                broken.append(f"runs are {', '.join(sorted(statuses))} in place of {' or '.join(sorted(self.ends_as))}")
        return broken


def judge_end(case: Case, last: process.Ended, is_clean: bool, is_second: bool = False) -> list[str]:
    """Which promises the last command broke: the one that was hurt if it ended well, else the same after the cause was gone.

    Args:
        is_second: Whether the one before had come to its end, too, so that there are two studies or searches.
    """
    if last.status:
        return [f"in the end: exit status {last.status}: {_last_line(last)}"]
    broken = []
    if "Traceback" in last.output:
        broken.append("in the end: a traceback")
    if last.left:
        broken.append(f"in the end: {len(last.left)} processes left")
    if differing := differs(case, counts=not is_second):
        broken.append(f"in the end: another result: {differing}")
    if "RUNNING" in case.read_statuses():
        broken.append("in the end: a run is still RUNNING")
    litter = [name for name in case.workspace.litter() if name not in case.baseline.litter]
    if case.is_in_workspace:
        litter += case.workspace.orphans()
    if litter := [name for name in litter if is_clean or not name.startswith("tmp/")]:
        broken.append(f"in the end: litter: {', '.join(litter)[:300]}")
    return broken


def differs(case: Case, counts: bool = True) -> str:
    """Where what the command came to differs from what it comes to unhurt; empty where it does not.

    Args:
        counts: Whether how many there are is compared, too: not where two commands ended well.
    """
    expected = {key: value for key, value in case.baseline.outcome.items() if counts or not isinstance(value, int)}
    try:
        return compare_outcomes(expected, case.stage.read_outcome(case.workspace, case.environment))
    except RuntimeError as error:  # such as a damaged artifact, which the store refuses to hand out
        return str(error)


def has_ended_well(case: Case) -> bool:
    """Whether the command that was hurt had finished its study or search by then."""
    counts = {key: value for key, value in case.baseline.outcome.items() if isinstance(value, int)}
    if not counts:
        return False
    try:
        outcome = case.stage.read_outcome(case.workspace, case.environment)
    except RuntimeError:
        return False
    return all(outcome[key] == value for key, value in counts.items())


def compare_outcomes(expected: Outcome, outcome: Outcome) -> str:
    """Where two outcomes differ; empty where they do not."""
    for key, value in expected.items():
        other = outcome.get(key)
        if other == value:
            continue
        if isinstance(value, dict) and isinstance(other, dict):
            if value.keys() != other.keys():
                return f"{key}: {sorted(map(str, value.keys() ^ other.keys()))[:4]}"
            return f"{key}/{compare_outcomes(value, other)}"
        if isinstance(value, list) and isinstance(other, list) and len(value) == len(other) == 1 and isinstance(value[0], dict):
            return f"{key}/{compare_outcomes(value[0], other[0])}"
        if isinstance(other, list) and len(other) > 1 and isinstance(other[0], dict):
            return f"{key}: {len(other)}, which differ: {compare_outcomes(other[0], other[1])}"
        return f"{key}: {str(other)[:120]} in place of {str(value)[:120]}"
    return ""


def half_written(workspace: Workspace) -> list[str]:
    """What a command that could clean up must not leave."""
    marks = (".writing-", ".making-", "-journal")
    return [n for n in workspace.litter() if any(mark in n for mark in marks) or n.startswith(("tmp/", "artifacts/"))]


def sleep_until(case: Case, command: process.Command) -> bool:
    """Sleep until a moment that is a share of the time; whether the command still runs."""
    process.wait_until(command.is_over, case.moment.share * case.baseline.seconds)
    return not command.is_over()


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _last_line(ended: process.Ended) -> str:
    if ended.error:
        return ended.error[:300]
    lines = ended.output.strip().splitlines()
    return lines[-1][:300] if lines else "nothing was said"
