"""Whichever bit is flipped in what was sealed, it is known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hashing import CHECKSUMS, find_damage, is_sealed, read_with_checksum, seal, with_checksum

NAMES = ("about.json", "ids.npy")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "about.json").write_text('{"a": 1}')
    (tmp_path / "ids.npy").write_bytes(bytes(range(40)))
    assert not is_sealed(tmp_path)
    seal(tmp_path)
    return tmp_path


def test_what_is_whole_has_no_damage(folder):
    assert is_sealed(folder)
    assert find_damage(folder, NAMES) is None
    seal(folder)
    assert find_damage(folder, NAMES) is None, "its own file is not among those that are sealed"


@pytest.mark.parametrize("name", NAMES)
def test_every_bit_counts(folder, name):
    content = (folder / name).read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(flipped)
        assert find_damage(folder, NAMES) == name


def test_a_flipped_bit_in_the_checksums_never_hides_damage(folder):
    sums = (folder / CHECKSUMS).read_bytes()
    (folder / "ids.npy").write_bytes(b"other")
    for bit in range(8 * len(sums)):
        flipped = bytearray(sums)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / CHECKSUMS).write_bytes(flipped)
        assert find_damage(folder, NAMES) is not None


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"\xff", b'{"about.json": 1, "ids.npy": null}'])
def test_without_checksums_that_can_be_read_all_counts_as_damaged(folder, content):
    (folder / CHECKSUMS).unlink()
    if content is not None:
        (folder / CHECKSUMS).write_bytes(content)
    assert find_damage(folder, NAMES) in (CHECKSUMS, *NAMES)


@pytest.mark.parametrize("change", ["gone", "a folder"])
def test_what_is_gone_is_damaged(folder, change):
    (folder / "ids.npy").unlink()
    if change == "a folder":
        (folder / "ids.npy").mkdir()
    assert find_damage(folder, NAMES) == "ids.npy"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)


@given(JSON)
def test_a_text_gives_back_its_content(content):
    assert read_with_checksum(with_checksum(content)) == content


def test_a_text_with_a_flipped_bit_is_refused_or_means_the_same():
    content = {"run_id": "5f", "precision": "fp32"}
    text = with_checksum(content).encode()
    refused = 0
    for bit in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert read_with_checksum(flipped.decode(errors="replace")) == content
        except ValueError:
            refused += 1
    assert refused > 7 * len(text)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"fp32"', json.dumps({"content": 1}), json.dumps({"content": 1, "sha256": "a"})]
)
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_with_checksum(text)
