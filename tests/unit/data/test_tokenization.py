from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import tokenization
from pipeline.data.pair_tokenization import tokenize_apart
from pipeline.data.tokenization import TokenTable, clamp_length, encode_texts, tokenize
from pipeline.hashing import digest


class Tokenizer:
    """A token a letter between 1 and 2; counts how often it is called."""

    calls = 0
    all_special_ids = (1, 2, ord("?"))
    unk_token_id = ord("?")

    def __call__(self, texts: list[str], max_length: int = 0, **options: Any) -> dict[str, list[list[int]]]:
        self.calls += options["truncation"]
        longest = max_length - 2 if options["truncation"] else None
        return {"input_ids": [[1, *map(ord, text[:longest]), 2] for text in texts]}


TABLE = pd.DataFrame({"text": ["abc", "", "hello world"], "label": [1, 0, 1]})


def encode(tokenizer: Tokenizer, folder: Path, key: str = "k", max_length: int = 8, content: str = "c") -> TokenTable:
    return tokenize(TABLE, tokenizer, key, max_length, content, str(folder))


def test_examples_keep_their_tokens_lengths_and_labels(tmp_path: Path) -> None:
    table = encode(Tokenizer(), tmp_path)
    assert len(table) == 3
    assert table.lengths.tolist() == [5, 2, 8]
    assert [table.tokens(row).tolist() for row in range(3)] == [
        [1, *map(ord, "abc"), 2],
        [1, 2],
        [1, *map(ord, "hello "), 2],
    ]
    assert table.labels.tolist() == [1, 0, 1]
    assert table.ids.dtype == np.int32


def test_the_same_content_is_tokenised_once_and_another_key_again(tmp_path: Path) -> None:
    tokenizer = Tokenizer()
    first, second = encode(tokenizer, tmp_path), encode(tokenizer, tmp_path)
    assert tokenizer.calls == 1
    assert np.array_equal(first.ids, second.ids)
    assert isinstance(second.ids, np.memmap)
    for changes in ({"key": "other"}, {"max_length": 4}, {"content": "other"}):
        before = tokenizer.calls
        encode(tokenizer, tmp_path, **changes)
        assert tokenizer.calls == before + 1


@pytest.mark.parametrize("name", ["ids.npy", "offsets.npy", "losses.npy"])
@pytest.mark.parametrize("content", [None, b"", b"noise", "cut"])
def test_damaged_ids_are_made_anew(tmp_path: Path, name: str, content: bytes | str | None) -> None:
    tokenizer = Tokenizer()
    first = encode(tokenizer, tmp_path)
    expected, file = first.ids.tolist(), next(tmp_path.rglob(name))
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(whole[:-8] if isinstance(content, str) else content)
    second = encode(tokenizer, tmp_path)
    assert tokenizer.calls == 2
    assert second.ids.tolist() == expected
    assert second.lengths.tolist() == [5, 2, 8]


def test_what_another_process_has_made_meanwhile_stays(tmp_path: Path) -> None:
    class Slow(Tokenizer):
        """While it works, another process makes the same."""

        def __call__(self, *arguments, **keywords):
            if not self.calls:
                encode(Tokenizer(), tmp_path)
                found.append(next(tmp_path.rglob("ids.npy")).stat().st_ino)
            return super().__call__(*arguments, **keywords)

    found: list[int] = []
    assert encode(Slow(), tmp_path).lengths.tolist() == [5, 2, 8]
    assert [next(tmp_path.rglob("ids.npy")).stat().st_ino] == found


def test_labels_are_those_of_the_table_and_not_of_the_cache(tmp_path: Path) -> None:
    encode(Tokenizer(), tmp_path)
    table = tokenize(TABLE.assign(label=[0, 0, 0]), Tokenizer(), "k", 8, "c", str(tmp_path))
    assert table.labels.tolist() == [0, 0, 0]


def test_what_is_cut_and_what_is_unknown_is_counted_once_and_kept(tmp_path: Path) -> None:
    table = encode(Tokenizer(), tmp_path)
    again = encode(Tokenizer(), tmp_path)
    for found in (table.losses, again.losses):
        assert found is not None
        assert found.counts.tolist() == [[3, 0, 0], [0, 0, 0], [6, 0, 5]]
    assert table.losses.metrics() == pytest.approx(
        {
            "data/texts_cut_percent": 100 / 3,
            "data/tokens_cut_percent": 100 * 5 / 14,
            "data/unknown_tokens_percent": 0,
        }
    )
    chosen = table.subset(np.array([2, 0])).losses
    assert chosen is not None
    assert chosen.counts.tolist() == [[6, 0, 5], [3, 0, 0]]
    unknown = encode_texts(["a?b?", "??????????", "abcdef"], Tokenizer(), 8).losses
    assert unknown is not None
    assert unknown.counts.tolist() == [[4, 2, 0], [6, 6, 4], [6, 0, 0]]


def test_an_unknown_token_that_has_another_use_is_not_counted() -> None:
    tokenizer = Tokenizer()
    tokenizer.unk_token_id = tokenizer.sep_token_id = 2
    losses = encode_texts(["ab", "c"], tokenizer, 8).losses
    assert losses is not None
    assert losses.counts.tolist() == [[2, 0, 0], [1, 0, 0]]


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {row}" * (row % 3) for row in range(10)]
    whole = encode_texts(texts, Tokenizer(), 16)
    monkeypatch.setattr(tokenization, "_CHUNK", 3)
    chunked = encode_texts(texts, Tokenizer(), 16)
    assert np.array_equal(whole.ids, chunked.ids)
    assert np.array_equal(whole.offsets, chunked.offsets)
    assert chunked.labels.tolist() == [0] * 10


@given(st.lists(st.text("ab", max_size=4), min_size=1, max_size=8), st.data())
def test_a_subset_holds_the_chosen_examples_in_their_order(texts: list[str], data: st.DataObject) -> None:
    table = encode_texts(texts, Tokenizer(), 16)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10)), np.int64)
    subset = table.subset(chosen)
    assert len(subset) == len(chosen)
    assert [subset.tokens(row).tolist() for row in range(len(subset))] == [table.tokens(row).tolist() for row in chosen]
    assert subset.lengths.tolist() == table.lengths[chosen].tolist()


@pytest.mark.parametrize(
    ("asked", "tokenizer_says", "positions", "expected"),
    [(128, 512, 512, 128), (128, 64, 512, 64), (128, 10**30, 40, 40), (128, 1e30, 512, 128)],
)
def test_the_length_is_clamped_to_what_tokenizer_and_model_allow(
    asked: int, tokenizer_says: float, positions: int, expected: int
) -> None:
    assert clamp_length(asked, SimpleNamespace(model_max_length=tokenizer_says), positions) == expected


@pytest.mark.parametrize("apart", [False, True])
def test_ids_of_when_a_tokenizer_cut_the_beginning_are_made_anew_and_no_others(tmp_path: Path, apart: bool) -> None:
    table = TABLE.assign(text_pair="b") if apart else TABLE

    def encode_by(**settings: Any) -> set[str]:
        tokenizer = Tokenizer()
        tokenizer.init_kwargs = settings
        (tokenize_apart if apart else tokenize)(table, tokenizer, "k", 8, "c", str(tmp_path))
        return {folder.name for folder in (tmp_path / "tokens").iterdir()}

    before = {"tokenizer": "k", "max_length": 8, "content": "c", **({"pairs": "apart"} if apart else {})}
    assert encode_by() == encode_by(truncation_side="right") == {digest(before)[:16]}
    assert len(encode_by(truncation_side="left")) == 2
