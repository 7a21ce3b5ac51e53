"""What is promised of whatever is read: a result or one clear message, in bounded time and memory, and nothing left behind."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from pipeline.errors import PipelineError, has_surrogate

Answer = Literal["read", "refused"]

LONGEST_MESSAGE = 3000
MOST_MIB = 500
"""By which one content of a few kilobytes may raise the peak of the process's memory."""
_OURS = "/pipeline/"


@dataclass(frozen=True)
class Room:
    """Where one content is read: two empty folders."""

    given: Path
    """For files from outside."""
    kept: Path
    """For what we write; of what is refused nothing may be left."""


@dataclass(frozen=True)
class Reader:
    """One way in."""

    name: str
    read: Callable[[bytes, Room], object]
    """Lays a content where it belongs and reads it as the project does; raises a `PipelineError` where it is refused."""
    seeds: Callable[[], Sequence[bytes]]
    """A few sound contents, and odd ones that were met."""
    words: Callable[[], Sequence[str]] = tuple
    """What the format is made of, for the fuzzer to put together."""
    seconds: float = 5.0
    """Of processor time that a content may take."""


class BrokenPromiseError(Exception):
    """A content was answered otherwise than promised."""

    def __init__(self, kind: str, place: str, detail: str) -> None:
        """Keep what tells one kind of finding from another.

        Args:
            kind: What happened, such as the name of an error.
            place: The innermost line of ours.
        """
        super().__init__(f"{kind} at {place}: {detail}")
        self.kind, self.place = kind, place


class _TooSlowError(BaseException):
    """Not an `Exception`: no reader shall take it for one of its own."""


def judge(reader: Reader, content: bytes, room: Path) -> Answer:
    """Read a content in a folder, which is emptied before.

    Raises:
        BrokenPromiseError: It was neither read nor refused as promised.
    """
    shutil.rmtree(room, ignore_errors=True)
    folders = Room(room / "given", room / "kept")
    for folder in (folders.given, folders.kept):
        folder.mkdir(parents=True)
    before = _peak_mib()
    try:
        with _limited(reader.seconds):
            reader.read(content, folders)
    except PipelineError as error:
        _check_message(error)
        if left := [str(path.relative_to(folders.kept)) for path in folders.kept.rglob("*") if path.is_file()]:
            raise BrokenPromiseError("left behind", find_place(error), ", ".join(left)) from error
        answer: Answer = "refused"
    except Exception as error:
        raise BrokenPromiseError(type(error).__name__, find_place(error), str(error)[:300]) from error
    except _TooSlowError as error:
        raise BrokenPromiseError("too slow", find_place(error), f"more than {reader.seconds} s") from None
    else:
        answer = "read"
    if (grown := _peak_mib() - before) > MOST_MIB:
        raise BrokenPromiseError("memory", reader.name, f"{grown:.0f} MiB more")
    return answer


def find_place(error: BaseException) -> str:
    """The innermost line of ours that an error went through, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _OURS in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition(_OURS)[2]}:{ours[-1].name}"
    return place if ours[-1] is frames[-1] else f"{place} (in {Path(frames[-1].filename).name}:{frames[-1].name})"


def _check_message(error: PipelineError) -> None:
    text, messages = str(error), error.messages
    lines = 1 if len(messages) == 1 else len(messages) + 1  # a heading above several
    flaws = {
        "no message": not messages or not all(message.strip() for message in messages),
        "several lines": len(text.splitlines()) != lines,
        "a long message": max(map(len, messages), default=0) > LONGEST_MESSAGE,
        "a traceback": "Traceback" in text,
        "no text in UTF-8": has_surrogate(text),
    }
    if flaw := next((flaw for flaw, is_there in flaws.items() if is_there), None):
        raise BrokenPromiseError(flaw, find_place(error), text[:300]) from error


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """An error once the block has taken so much processor time; of the clock others may have had their part."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def processor_seconds() -> float:
    """What this process has computed."""
    return time.process_time()


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def make_folder() -> Path:
    """A folder for what contents are put into, which lasts as long as this process."""
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="fuzz-"))
    return Path(_FOLDERS[-1].name)
