"""Failures of the system that can be foreseen: a full disk, no memory left, a folder that may not be written to.

Libraries raise them in many shapes, often below an error of their own that names another cause. Here they are known whatever
their shape, and said in one sentence with what to do.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MemoryFailureError, PipelineError, SystemFailureError, shorten

_AGAIN = "run the same command again"
_FULL, _MEMORY, _GPU_MEMORY, _MANY_FILES = "full", "memory", "gpu memory", "many files"
_READ_ONLY, _DENIED, _BROKEN = "read-only", "denied", "broken"
_BY_NUMBER = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.ENOMEM: _MEMORY,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EMFILE: _MANY_FILES,
    errno.ENFILE: _MANY_FILES,
    errno.EIO: _BROKEN,
}
# Of errors that carry no number: those of SQLite, safetensors (Rust), NumPy, torch, oneDNN, CUDA and the dynamic loader.
_BY_TEXT = {
    _GPU_MEMORY: re.compile(r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE),
    _FULL: re.compile(r"No space left on device|database or disk is full|Disk quota exceeded|^\d+ requested and \d+ written$"),
    _MEMORY: re.compile(
        r"[Oo]ut of memory|can't allocate memory|Cannot allocate memory|bad_alloc|failed to map segment|can't start new thread|"
        # oneDNN's code for a shape is made at its first use; what it cannot do it says of a "primitive descriptor"
        r"could not create a (primitive|memory object)$"
    ),
    _READ_ONLY: re.compile(r"Read-only file system|readonly database"),
    _DENIED: re.compile(r"Permission denied"),
    _MANY_FILES: re.compile(r"Too many open files"),
    _BROKEN: re.compile(r"Input/output error|disk I/O error"),
}
_ASIDES = re.compile(r"\(raised as a result of [^)]*\) | ?\[SQL: .*")
"""What SQLAlchemy says around what the database said: advice to programmers, and the statement."""
_EXHAUSTED = frozenset({_FULL, _MEMORY, _GPU_MEMORY, _MANY_FILES, _BROKEN})
"""What is never a mistake of input, and so is the cause whatever was said above it."""


def foreseen(error: BaseException, where: str = "") -> PipelineError | None:
    """The failure of the system behind an error, as one to show; None where there is none.

    An error that is shown already stays as it is, unless it was raised because something ran out: then that is the cause.

    Args:
        where: What was written or read, such as `--cache-dir cache`; found in the error where it is not given.
    """
    for cause in _causes(error):
        if isinstance(cause, SystemFailureError):
            return cause
        kind = _kind(cause)
        if kind is not None and (kind in _EXHAUSTED or not isinstance(error, PipelineError)):
            failure = MemoryFailureError if kind in (_MEMORY, _GPU_MEMORY) else SystemFailureError
            return failure(_message(kind, cause, where))
    return None


def unforeseen(error: BaseException, where: str = "") -> PipelineError:
    """Any error that is none of ours, as one to show: the failure of the system behind it, or what it says."""
    reason = shorten(" ".join(str(error).split()), 500)
    return foreseen(error, where) or PipelineError(f"{type(error).__name__}: {reason}.")


def is_exhausted(error: BaseException) -> bool:
    """Whether something ran out, so that what was read or written may be as good as ever."""
    return any(isinstance(cause, SystemFailureError) or _kind(cause) in _EXHAUSTED for cause in _causes(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the GPU or of the machine, or what this process may have of it, did not suffice."""
    return any(_kind(cause) in (_MEMORY, _GPU_MEMORY) for cause in _causes(error))


def too_large(what: str, ways: Sequence[str], error: BaseException, hint: str = "") -> MemoryFailureError:
    """What is said where something that can be named does not fit into memory.

    Args:
        what: What was computed, such as "batches of 32".
        ways: What to give, each of which helps; two or more.
        error: As libraries raised it.
        hint: A sentence at the end, with a space before it.
    """
    on_gpu = any(_kind(cause) == _GPU_MEMORY for cause in _causes(error))
    where = "the memory of the GPU" if on_gpu else "the memory, or into the limit that is set for this process"
    ends = "end what else uses the GPU" if on_gpu else "end other programs, or raise the limit"
    *others, last = ways
    give = f"{', '.join(others)} or {last}"
    return MemoryFailureError(f"{what} does not fit into {where}. Give {give}; or {ends}. Then {_AGAIN}.{hint}")


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Raise failures of the system inside as of this folder.

    Raises:
        SystemFailureError: The disk is full, the folder may not be written to, or the like.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PipelineError) or (failure := foreseen(error, str(folder))) is None:
            raise
        raise failure from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from or while handling, and so on."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _kind(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return _BY_NUMBER[error.errno]
    if isinstance(error, (PipelineError, KeyboardInterrupt)):
        return None  # their words are ours
    text = str(error)
    return next((kind for kind, pattern in _BY_TEXT.items() if pattern.search(text)), None)


def _message(kind: str, error: BaseException, where: str) -> str:
    if not where and isinstance(error, OSError) and error.filename is not None:
        target = error.filename2 if isinstance(error.filename2, str) else error.filename
        where = str(target)
    place = shorten(where, 300)
    subject = place or shorten(_ASIDES.sub("", " ".join(str(error).split())), 300)
    may_not = "" if place else ", or may not be written to"  # SQLite says the same of both
    on, or_else = (f" ({place})", ", or give another --cache-dir," if "--cache-dir" in place else "") if place else ("", "")
    return {
        _FULL: f"The disk is full{on}. Free some space{or_else} and {_AGAIN}.",
        _MEMORY: (
            "The memory is used up, or the limit that is set for this process. A smaller --batch-size, --max-length or --model "
            "needs less, and so do --gradient-accumulation-steps 4 and --gradient-checkpointing true; "
            f"end other programs, or raise the limit, and {_AGAIN}."
        ),
        _GPU_MEMORY: (
            "The memory of the GPU is used up. Give --gradient-accumulation-steps 4 or --gradient-checkpointing true, a "
            f"smaller --batch-size or --max-length, or end what else uses the GPU, and {_AGAIN}."
        ),
        _READ_ONLY: f"{subject}: is on a disk that can only be read{may_not}. Give another folder and {_AGAIN}.",
        _DENIED: f"{subject}: permission denied. Give yourself access, or name another folder, and {_AGAIN}.",
        _MANY_FILES: f"Too many files are open ({subject}). Raise the limit (`ulimit -n 4096`) and {_AGAIN}.",
        _BROKEN: f"{subject}: the disk cannot be read or written any more. Check it, or take another one, and {_AGAIN}.",
    }[kind]
