"""Content hashes: what makes two inputs the same."""

import hashlib
import json
from pathlib import Path


def digest(content: object) -> str:
    """SHA-256 of `content` as canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
