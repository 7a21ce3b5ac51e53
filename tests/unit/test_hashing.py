import hashlib
from collections.abc import Callable
from pathlib import Path

from pipeline.hashing import digest, hash_file


def test_digest_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    distinct = [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": "1", "b": 2}, {"a": 1}, [1, 2], [2, 1]]
    assert len({digest(content) for content in distinct}) == len(distinct)


def test_hash_file_is_the_sha256_of_its_bytes(write: Callable[[str, str | bytes], Path]) -> None:
    assert hash_file(write("a", b"\x00abc")) == hashlib.sha256(b"\x00abc").hexdigest()
