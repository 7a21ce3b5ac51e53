"""Content hashes: what makes two inputs the same, and checksums by which damage is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pipeline.given_paths import is_file
from pipeline.json_text import parse_json
from pipeline.known import once


def digest(content: object) -> str:
    """SHA-256 of `content` as canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_unchanged(file: Path) -> str:
    """A file's SHA-256, for large ones that are asked for again and again: it is read again only if it has changed."""
    status = file.stat()
    key = ("SHA-256", file, status.st_mtime_ns, status.st_size, status.st_ino)
    return once(key, lambda: hash_file(file))


CHECKSUMS = "checksums.json"


def seal(folder: Path) -> None:
    """Write the SHA-256 of every file in a folder beside them; folders in it are not looked at."""
    sums = {file.name: hash_file(file) for file in sorted(folder.iterdir()) if file.is_file() and file.name != CHECKSUMS}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Whether its checksums were written; they were not before there were any."""
    return (folder / CHECKSUMS).is_file()


def list_sealed(folder: Path) -> list[str]:
    """Names of the files in a folder that was sealed; none where its checksums cannot be read."""
    try:
        sums = parse_json((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    return list(sums) if isinstance(sums, dict) else []


def find_damage(folder: Path, names: Iterable[str]) -> str | None:
    """The first of the files that is not as it was when its folder was sealed; None where all are.

    Raises:
        OSError: The disk cannot be read.
    """
    try:
        sums = parse_json((folder / CHECKSUMS).read_text(encoding="utf-8"))
        known = {name: sums[name] for name in names}
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return CHECKSUMS
    for name, sha256 in known.items():
        try:
            # A device or a pipe has no end, and no checksum: whoever sent a folder may have listed one.
            if not is_file(folder / name) or hash_file(folder / name) != sha256:
                return name
        except FileNotFoundError:
            return name
    return None


def with_checksum(content: object) -> str:
    """A JSON text that carries the checksum of its content."""
    return json.dumps({"content": content, "sha256": digest(content)})


def read_with_checksum(text: str) -> object:
    """The content of such a text.

    Raises:
        ValueError: It is damaged, or no such text.
    """
    parsed = parse_json(text)
    if not isinstance(parsed, dict) or parsed.keys() != {"content", "sha256"} or digest(parsed["content"]) != parsed["sha256"]:
        raise ValueError("its content does not have its checksum")
    content: object = parsed["content"]
    return content
