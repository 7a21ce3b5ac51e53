"""Runs readers under Atheris, each in a process of its own, for so much processor time; counts, and keeps what was found.

Atheris (libFuzzer) changes contents so that they reach branches of ours that none before reached. A process that it ends, by a
crash or for time, is counted and followed by another one.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import json
import os
import re
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .reader import Reader

ENGINE = "atheris"
_MEMORY = Path("/dev/shm")
_COVERED = re.compile(r"^#\d+\s+(\w+)\s+cov: (\d+)", re.MULTILINE)
_MOST_STARTS = 20
_LONGEST_CONTENT = 4096
_SECONDS_OF_CLOCK = 900  # without an answer; the processor time of an answer is held in `reader.py`
_MOST_MIB = 1900  # of memory that is in use; the engine ends a process that has more
_MORE_MIB = 6000  # of addresses, of which allocators reserve many, than after the first contents: more is a MemoryError


@dataclass
class Counts:
    """What became of one reader, over all rounds."""

    executions: int = 0
    refused: int = 0
    seconds: float = 0.0
    """Of processor time, without imports."""
    by_seeds: int = 0
    """Edges of the package's bytecode that the seeds cover."""
    covered: int = 0
    """Edges that all contents cover."""
    ended: int = 0
    """Processes that ended early: by a crash of a library, or without an answer."""
    findings: dict[str, int] = field(default_factory=dict)
    """Kind and place -> how often."""


def lacks_engine() -> bool:
    """Whether Atheris is missing."""
    return importlib.util.find_spec(ENGINE) is None


def load_readers() -> dict[str, Reader]:
    """All readers, and the package with what tells the engine which branches are taken."""
    import atheris

    with atheris.instrument_imports(include=["pipeline"]):
        from .readers import READERS

    return READERS


def run_reader(name: str, folder: Path, seconds: float, seed: int) -> Counts:
    """Fuzz one reader for so much processor time.

    Args:
        folder: Of this reader, where contents, counts and findings are kept from round to round.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = read_counts(folder)
    until = counts.seconds + seconds
    log = folder / "engine.log"
    for start in range(seed, seed + _MOST_STARTS):
        status = _run_beside(functools.partial(fuzz, name, folder, until - counts.seconds, start), log)
        covered = [(event, int(edges)) for event, edges in _COVERED.findall(log.read_text(encoding="utf-8", errors="replace"))]
        counts = read_counts(folder)
        counts.by_seeds = counts.by_seeds or next((edges for event, edges in covered if event == "INITED"), 0)
        counts.covered = max([counts.covered, *(edges for _, edges in covered)])
        counts.ended += status != 0
        _write_counts(folder, counts)
        if status == 0 or not covered:
            break
        log.replace(folder / f"ended-{start}.log")
    return counts


def _run_beside(work: Callable[[], None], log: Path) -> int:
    """Do this in a process of its own, and all that is printed, by the engine, too, into a file; its exit status."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        process = os.fork()
        if process == 0:
            tempfile.tempdir = scratch  # also for what the project itself puts into temporary folders
            _become(work, log)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _become(work: Callable[[], None], log: Path) -> NoReturn:
    """Do nothing but this, with all that is printed in a file: the engine writes there, too."""
    with log.open("w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    try:
        work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


def fuzz(name: str, folder: Path, seconds: float, seed: int) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris

    from .reader import BrokenPromiseError, judge, processor_seconds

    reader = load_readers()[name]
    room = Path(tempfile.mkdtemp())
    with atheris.instrument_imports(include=["pipeline"]):
        for content in reader.seeds():  # imports all that reading takes, so that it is instrumented
            try:
                judge(reader, content, room)
            except BrokenPromiseError as error:
                print("seed:", error)  # noqa: T201
    contents, findings = folder / "contents", folder / "findings"
    for each in (contents, findings):
        each.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(reader.seeds()):
        (contents / f"seed-{number}").write_bytes(content)
    words = folder / "words"
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in reader.words()), encoding="ascii")
    counts, began = read_counts(folder), processor_seconds()
    before, written = counts.seconds, 0.0

    def test(content: bytes) -> None:
        nonlocal written
        counts.executions += 1
        try:
            counts.refused += judge(reader, content, room) == "refused"
        except BrokenPromiseError as error:
            kind = f"{error.kind} at {error.place}"
            counts.findings[kind] = counts.findings.get(kind, 0) + 1
            _keep_shortest(findings / re.sub(r"\W+", "-", kind)[:150], content, str(error))
        spent = processor_seconds() - began
        if spent - written > 2 or spent >= seconds:
            counts.seconds, written = before + spent, spent
            _write_counts(folder, counts)
        if spent >= seconds:
            sys.stderr.flush()
            os._exit(0)  # an exception would be a finding of the engine's

    gc.collect()
    gc.freeze()  # else thousands of contents are read before the collector looks at what imports have left beside them
    _limit_memory()
    atheris.Setup(
        [
            sys.argv[0],
            str(contents),
            f"-seed={seed + 1}",
            f"-dict={words}",
            f"-max_len={_LONGEST_CONTENT}",
            f"-timeout={_SECONDS_OF_CLOCK}",
            f"-artifact_prefix={folder}/ended-",
            f"-rss_limit_mb={_MOST_MIB}",
            "-keep_seed=1",
            "-report_slow_units=100000",
            "-len_control=0",
        ],
        test,
    )
    atheris.Fuzz()


def read_counts(folder: Path) -> Counts:
    """Those of the rounds before."""
    file = folder / "counts.json"
    return Counts(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Counts()


def render(counts: dict[str, Counts]) -> str:
    """The counts by reader as a Markdown table, and each kind of finding in a line."""
    header = "| reader | contents | refused | edges by seeds | edges in the end | processor s | ended early | findings |"
    rows = [
        f"| {name} | {each.executions:,} | {each.refused / max(each.executions, 1):.0%} | {each.by_seeds:,} | {each.covered:,} "
        f"| {each.seconds:,.0f} | {each.ended} | {len(each.findings)} |"
        for name, each in counts.items()
    ]
    total = list(counts.values())
    rows.append(
        f"| all | {sum(each.executions for each in total):,} | | | | {sum(each.seconds for each in total):,.0f} "
        f"| {sum(each.ended for each in total)} | {sum(len(each.findings) for each in total)} |"
    )
    found = [f"- {name}: {kind} ({number:,} times)" for name, each in counts.items() for kind, number in each.findings.items()]
    return "\n".join([header, "|---|---|---|---|---|---|---|---|", *rows, "", *found]) + "\n"


def _write_counts(folder: Path, counts: Counts) -> None:
    beside = folder / "counts.json.new"
    beside.write_text(json.dumps(asdict(counts), indent=1), encoding="utf-8")
    beside.replace(folder / "counts.json")


def _keep_shortest(stem: Path, content: bytes, said: str) -> None:
    file = stem.with_suffix(".bin")
    if not file.is_file() or len(content) < file.stat().st_size:
        file.write_bytes(content)
        stem.with_suffix(".txt").write_text(said + "\n", encoding="utf-8", errors="replace")


def _quoted(word: str) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word.encode("utf-8", "replace")
    )


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MORE_MIB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
