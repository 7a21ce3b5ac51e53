"""Bring a model or a data set from the Hugging Face hub into the local cache, or say within seconds why not."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import InputError

_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True)
class Snapshot:
    """A repository's files at one commit, on this disk."""

    folder: Path
    commit: str


def fetch_snapshot(
    repo_id: str,
    revision: str | None,
    kind: Literal["model", "dataset"],
    error: type[InputError],
    patterns: Sequence[str] | None = None,
) -> Snapshot:
    """The files of a hub repository; from the local cache where the hub cannot be reached.

    Args:
        error: What to raise, with a message that names the option.
        patterns: Only files that match one of these.

    Raises:
        InputError: As `error`: no such repository or revision, no access, or neither hub nor cache has it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    option = f"--{kind} {repo_id}"
    try:
        with _without_warnings():
            folder = Path(
                snapshot_download(
                    repo_id,
                    revision=revision,
                    repo_type=kind,
                    allow_patterns=list(patterns) if patterns else None,
                    etag_timeout=_SECONDS_TO_ANSWER,
                )
            )
    except HFValidationError as cause:
        raise error(f"{option}: no such file or folder, and not a hub id (OWNER/NAME) either.") from cause
    except GatedRepoError as cause:
        raise error(f"{option}: the hub asks for an accepted licence. Accept it there and run `hf auth login`.") from cause
    except RevisionNotFoundError as cause:
        raise error(f"{option}: the hub has no revision {revision!r} of it. Check --{kind}-revision.") from cause
    except RepositoryNotFoundError as cause:
        raise error(f"{option}: the hub has no such {kind}, or it is private (`hf auth login`).") from cause
    except LocalEntryNotFoundError as cause:
        raise error(
            f"{option}: no such file or folder here, not in the local hub cache, and the hub cannot be reached. "
            f"Connect to the network, or {_OFFLINE[kind]}."
        ) from cause
    except OSError as cause:
        raise error(f"{option}: could not be brought from the hub: {' '.join(str(cause).split())[:300]}.") from cause
    return Snapshot(folder, folder.name)


_OFFLINE = {
    "model": "give a local folder, or use the packaged --model minilm",
    "dataset": "give a local file or folder, or use the packaged --dataset rotten_tomatoes",
}


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
