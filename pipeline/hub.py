"""Bring a model or a data set from the Hugging Face hub into the local cache, or a folder there, or say soon why not.

And the cards that stand beside them.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ConfigError, InputError, PipelineError, shorten
from pipeline.given_paths import is_file

CARD = "README.md"
"""What says in words what lies beside it, with metadata above the text."""
_DATASETS = "https://huggingface.co/datasets/"
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


def read_licence(folder: Path) -> str:
    """Under which licence the card in a folder puts what lies beside it; empty where it does not say."""
    from huggingface_hub import metadata_load

    try:
        about = metadata_load(folder / CARD) if is_file(folder / CARD) else None  # a pipe would be waited for
    except Exception:  # a card is anybody's text, and of YAML that is none the parser raises its own
        return ""
    said = (about or {}).get("license")
    names = [name for name in (said if isinstance(said, list) else [said]) if isinstance(name, str)]
    custom = (about or {}).get("license_name")
    if names == ["other"] and isinstance(custom, str):
        names = [custom]
    return shorten(" ".join(", ".join(names).split()))


def ask_licence(repo_id: str, revision: str | None, kind: Literal["model", "dataset"]) -> str:
    """The same of a repository of the hub; empty also where neither the hub nor the local cache has its card."""
    with contextlib.suppress(InputError, OSError, ValueError):
        return read_licence(fetch_snapshot(repo_id, revision, kind, InputError, [CARD]).folder)
    return ""


def parse_dataset_address(address: str) -> tuple[str, str | None] | None:
    """Id and commit of a data set of the hub; None where data are from elsewhere.

    Args:
        address: As prepared data have it.
    """
    if not address.startswith(_DATASETS):
        return None
    repository, _, commit = address.removeprefix(_DATASETS).partition("/tree/")
    return repository, commit or None


def check_push(repo_id: str) -> None:
    """Hold that a folder may be uploaded, before it is made; the hub is not asked.

    Raises:
        ConfigError: It is no name of a repository, or there is no token.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as cause:
        raise ConfigError(f"--push {repo_id}: is no repository's name. Give OWNER/NAME.") from cause
    if repo_id.count("/") != 1:
        raise ConfigError(f"--push {repo_id}: whose repository? Give OWNER/NAME.")
    if not get_token():
        raise ConfigError(f"--push {repo_id}: needs a token of the hub that may write. Set HF_TOKEN, or run `hf auth login`.")


def push_folder(folder: Path, repo_id: str, message: str, replaced: Sequence[str], client: Any = None) -> str:
    """Upload all files of a folder; a repository that is not there is made, private.

    Args:
        replaced: Patterns of the names of files that are deleted there, unless the folder has such. All others stay.
        client: Of the hub; its own if not given, which reads the token from the environment.

    Returns:
        The repository's address.

    Raises:
        PipelineError: The hub cannot be reached, or does not take it, or not its card.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    client = client or HfApi()
    by_hand = f"`hf upload {repo_id} {folder}`"
    way_out = f"{folder} is whole: run {by_hand}, or this command with --force true, once that is mended."
    try:
        with _without_warnings():
            address = str(client.create_repo(repo_id, repo_type="model", private=True, exist_ok=True))
            client.upload_folder(
                repo_id=repo_id, folder_path=folder, repo_type="model", commit_message=message, delete_patterns=list(replaced)
            )
    except OfflineModeIsEnabled as cause:
        raise PipelineError(f"--push {repo_id}: HF_HUB_OFFLINE is set, so the hub is not asked. {way_out}") from cause
    except HfHubHTTPError as cause:
        status = getattr(cause.response, "status_code", None)
        refused = "the token may not write there" if status in (401, 403) else f"the hub answers with status {status}"
        raise PipelineError(f"--push {repo_id}: {refused}. {way_out}") from cause
    except Exception as cause:  # whatever the client's transport raises
        said = " ".join(str(cause).split()).rstrip(".")
        if isinstance(cause, ValueError) and CARD in said:  # which the client has the hub check first
            refused = f"the hub refuses the card: {shorten(said, 300)}. Mend {CARD} in {folder}, then run {by_hand}."
            raise PipelineError(f"--push {repo_id}: {refused}") from cause
        raise PipelineError(f"--push {repo_id}: the hub cannot be reached ({type(cause).__name__}). {way_out}") from cause
    return address


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
