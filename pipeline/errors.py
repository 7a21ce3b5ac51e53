"""What a user can get wrong or run into, as errors with an exit status; and text made safe to print in a terminal."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

# C0 and C1 controls and DEL, marks and overrides of the writing direction, line separators, and halves of surrogate pairs,
# which no UTF-8 holds.
_ORDERS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""One line of text in which such characters are written as Python would, such as `\x1b`; all others stay."""
    return _ORDERS.sub(lambda match: repr(match[0])[1:-1], text)


_HALF = re.compile("[\ud800-\udfff]")


def has_surrogate(text: str) -> bool:
    """Whether a text cannot be written in UTF-8, as one that was typed in another encoding than the terminal's."""
    return _HALF.search(text) is not None


class PipelineError(Exception):
    """Root of every error that is shown to a user as a message, never as a traceback.

    Takes one message, or several independent ones, which are shown together.
    """

    exit_status = 1

    def __init__(self, *messages: str) -> None:
        """Keep each message, so that whoever catches the error can join it with others."""
        super().__init__(*messages)
        self.messages = messages

    def __str__(self) -> str:
        """The message, or a list of them, so that all are mended in one go; a line each, whatever names stand in them."""
        lines = [printable(message) for message in self.messages]
        return lines[0] if len(lines) == 1 else f"{len(lines)} mistakes:\n" + "\n".join(f"  - {line}" for line in lines)


class InputError(PipelineError):
    """A mistake in what the user gave; nothing was run."""

    exit_status = 2


class ConfigError(InputError):
    """An option, a recipe or a strategy argument is wrong."""


class DataError(InputError):
    """The labelled text cannot be read, or cannot be used as it is."""


class ModelError(InputError):
    """The encoder cannot be found, read, or used."""


class RunError(InputError):
    """A run id names nothing, or a run that cannot serve for what was asked."""


class PluginError(InputError, TypeError):
    """A plug-in's file does not hold what its kind asks for; a mistake of whoever wrote it."""


class TrainingError(PipelineError):
    """Training failed while it ran, for example because the loss became NaN."""


class DamageError(PipelineError):
    """What was written is not what is read back, and cannot be made anew by itself."""


class DamagedModelError(ModelError, DamageError):
    """A model's files are not what training wrote."""

    exit_status = 1

    def __init__(self, message: str, file: str = "") -> None:
        """Keep which file it is."""
        super().__init__(message)
        self.file = file


class ProcessLostError(PipelineError):
    """A process that worked for us was killed from outside."""


class StoreError(PipelineError):
    """The tracking store cannot be written or read."""


class StoreAwayError(StoreError):
    """The tracking store does not answer, or answers that it cannot at the moment; the same request may succeed later."""


class SystemFailureError(PipelineError):
    """The system gave out: a full disk, no memory left, a folder that may not be written to. See `pipeline.failures`."""


class MemoryFailureError(SystemFailureError):
    """What was computed does not fit into the memory of the machine or of a GPU; something smaller may."""


class ExhaustedStoreError(StoreError, SystemFailureError):
    """The tracking store cannot be written or read, because the system gave out."""


def refused_pickle(error: BaseException) -> str | None:
    """What a pickle holds beside weights, as said by torch, which refuses to read it; None of other errors.

    What torch itself says advises to read it nevertheless, which lets the file run any code.
    """
    text = str(error)
    if "Weights only load failed" not in text and "weights_only" not in text:
        return None
    named = re.search(r"Unsupported global: GLOBAL (\S+)", text)
    return f"Python objects ({named[1]})" if named else "Python objects"


def shorten(text: str, longest: int = 100) -> str:
    """What a user gave, at a length that can be read in a message."""
    return text if len(text) <= longest else text[:longest] + "..."


def in_one_line(error: Exception) -> str:
    """The message of an error, or several of them one behind the other."""
    return "; ".join(error.messages) if isinstance(error, PipelineError) else str(error)


def hide_credentials(text: str) -> str:
    """The text without user names and passwords of the addresses in it, such as `postgresql://user:password@host/runs`."""
    text = re.sub(r"://(?:[^\s/@:]*:\S*|[^\s/@:]+)@", "://...@", text)
    return re.sub(r"(?<=[?&])(user|password|passwd|token)=[^&\s]*", r"\1=...", text)


def enumerate_some(names: Sequence[str], most: int = 30) -> str:
    """The first of what may be very many names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(shorten, names[:most])) + more


def unknown(kind: str, name: object, available: Iterable[str]) -> str:
    """The message for a name that is not known, with the nearest known one suggested. In YAML a name may be a number."""
    names, name = sorted(available), shorten(str(name))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    return f"Unknown {kind} {name!r}.{suggestion} Available: {', '.join(names) or 'none'}."
