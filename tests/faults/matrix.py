"""The matrix: which cases there are, playing them, and the table of counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from . import process
from .fault import Baseline, Case, Fault
from .moments import WRITES, count_calls, watch
from .stages import Stage, fingerprint
from .workspace import Workspace


@dataclass
class Cell:
    """What came of the cases of one stage and one fault."""

    injected: int = 0
    survived: int = 0
    too_late: int = 0
    """Cases in which the command had ended, or the process was another, when the moment came."""
    skipped: str = ""
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept, each with its case."""

    def __str__(self) -> str:
        if self.skipped:
            return "skipped"
        return f"{self.survived}/{self.injected}" if self.injected else "-"


_DRAWS = 3
"""How often moments are drawn for a cell as long as all come too late."""

Cells = dict[tuple[str, str], Cell]


def measure(stage: Stage, workspace: Workspace, template: str) -> Baseline:
    """What a stage comes to when nothing hurts it, in a workspace as that template has it."""
    workspace.restore(template)
    workspace.forget_reads()
    calls = workspace.folder / "calls"
    ended = process.Command(
        stage.arguments(workspace),
        workspace.folder,
        workspace.environment,
        lambda: watch(WRITES, lambda *_: None, calls),
    ).wait()
    if ended.status or ended.left:
        raise RuntimeError(f"{stage.name} fails unhurt with {ended.status}, {len(ended.left)} processes left:\n{ended.output}")
    read = workspace.list_reads()
    return Baseline(stage.read_outcome(workspace), ended.seconds, workspace.litter(), count_calls(calls), read)


def run_matrix(
    workspace: Workspace, stages: Sequence[Stage], faults: Sequence[Fault], number: int, seed: int, say: Callable[[str], None]
) -> Cells:
    """Play so many cases of each stage and fault."""
    cells: Cells = {}
    reasons = {fault.name: fault.unavailable() for fault in faults}
    for stage in stages:
        baselines: dict[str, Baseline] = {}
        for fault in faults:
            if stage.name in fault.stages:
                cell = cells[stage.name, fault.name] = Cell(skipped=reasons[fault.name])
                if not cell.skipped:
                    if (template := fault.template(stage)) not in baselines:
                        baselines[template] = measure(stage, workspace, template)
                        seconds, name = baselines[template].seconds, fingerprint(baselines[template].outcome)
                        say(f"{stage.name} in {template}: {seconds:.1f} s unhurt, outcome {name}")
                    for draw in range(_DRAWS):
                        generator = random.Random(f"{seed} {stage.name} {fault.name} {draw}")
                        for case in fault.cases(stage, workspace, baselines[template], number, generator):
                            _play(fault, case, cell, say)
                        if cell.injected:
                            break
                say(f"{stage.name}, {fault.name}: {cell.skipped or cell}")
    return cells


def _play(fault: Fault, case: Case, cell: Cell, say: Callable[[str], None]) -> None:
    injected, broken, stopped = _play_once(fault, case)
    if broken and stopped:
        say(f"  stopped for {stopped:.0f} s meanwhile, so it is played again: {broken[0]}")
        injected, broken, _ = _play_once(fault, case)
    if not injected:
        cell.too_late += 1
        return
    ended = case.hurt
    if ended is not None and ended.status:
        say(f"  {case.stage.name}, {fault.name}, {case.moment}: exit status {ended.status}: {ended.error}")
    cell.injected += 1
    cell.survived += not broken
    where = f"{case.moment}{f', {case.variant}' if case.variant else ''}"
    for promise in broken:
        line = f"{case.stage.name}, {fault.name}, {where}: {promise}"
        cell.broken.append(line)
        say(f"  BROKEN {line}")


def _play_once(fault: Fault, case: Case) -> tuple[bool, list[str], float]:
    before = process.Stops.seconds
    case.workspace.restore(fault.template(case.stage))
    injected, broken = fault.play(case)
    return injected, broken, process.Stops.seconds - before


def render(cells: Cells) -> str:
    """The counts as Markdown, survived of injected by fault and stage, and every promise that was not kept."""
    stages = list(dict.fromkeys(stage for stage, _ in cells))
    faults = list(dict.fromkeys(fault for _, fault in cells))
    return "\n".join([*_table(cells, stages, faults), *_list_skipped(cells), *_list_broken(cells), ""])


def _table(cells: Cells, stages: Sequence[str], faults: Sequence[str]) -> Iterator[str]:
    yield f"| fault | {' | '.join(stages)} | all |"
    yield f"|---|{'---|' * (len(stages) + 1)}"
    for fault in [*faults, "all"]:
        texts = [str(cells.get((stage, fault), "")) for stage in stages]
        if fault == "all":
            texts = [_sum([cell for (name, _), cell in cells.items() if name == stage]) for stage in stages]
        yield f"| {fault} | {' | '.join(texts)} | {_sum([c for (_, name), c in cells.items() if fault in (name, 'all')])} |"


def _sum(cells: Sequence[Cell]) -> str:
    return f"{sum(cell.survived for cell in cells)}/{sum(cell.injected for cell in cells)}"


def _list_skipped(cells: Cells) -> Iterator[str]:
    reasons = {fault: cell.skipped for (_, fault), cell in cells.items() if cell.skipped}
    if reasons:
        yield ""
        yield from (f"- skipped: {fault}: {reason}" for fault, reason in reasons.items())


def _list_broken(cells: Cells) -> Iterator[str]:
    if lines := [line for cell in cells.values() for line in cell.broken]:
        yield ""
        yield from (f"- {line}" for line in lines)
