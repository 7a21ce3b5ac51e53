"""Texts that are too long: what is read of them, for the tokenizers of every kind of family that there is."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_encoders import PLAIN

from pipeline.data import tokenization
from pipeline.data.long_texts import LongTextReading, average_by_text, cut_texts, refuse_idle_overlap
from pipeline.data.token_losses import describe_losses
from pipeline.data.tokenization import TokenTable, encode_texts, tokenize
from pipeline.errors import ConfigError

WINDOWS, HEAD_TAIL = LongTextReading("windows"), LongTextReading("head_tail")
TOKENS = st.integers(0, 200).map(lambda count: np.arange(count, dtype=np.int32))
ROOMS, OVERLAPS = st.integers(1, 40), st.floats(0, 0.9)
KINDS = ("bert", "roberta", "albert", "xlm-roberta", "deberta-v2", "modernbert")
"""Families whose tokenizers are word pieces, byte pairs, SentencePiece of three kinds, and a bare tokenizer.json."""
LENGTHS = (0, 1, 9, 10, 11, 14, 40, 97)


@given(TOKENS, ROOMS, OVERLAPS)
def test_pieces_are_all_tokens_in_their_order_and_overlap_as_asked(
    tokens: NDArray[np.int32], room: int, overlap: float
) -> None:
    pieces = LongTextReading("windows", overlap).cut(tokens, room)
    assert np.array_equal(np.unique(np.concatenate(pieces)), tokens)
    if len(tokens) <= room:
        assert len(pieces) == 1
        return
    assert {len(piece) for piece in pieces} == {room}
    repeated = [int(first[-1]) - int(second[0]) + 1 for first, second in itertools.pairwise(pieces)]
    assert set(repeated[:-1]) <= {int(overlap * room)}
    assert int(overlap * room) <= repeated[-1] < room, "the last one ends with the text"


@given(TOKENS, ROOMS)
def test_of_both_ends_the_first_quarter_is_the_beginning(tokens: NDArray[np.int32], room: int) -> None:
    (kept,) = HEAD_TAIL.cut(tokens, room)
    if len(tokens) <= room:
        assert np.array_equal(kept, tokens)
        return
    head = round(room * 128 / 510)
    assert kept.tolist() == [*range(head), *range(len(tokens) - room + head, len(tokens))]


def test_of_512_tokens_as_many_are_kept_as_in_the_paper() -> None:
    (kept,) = HEAD_TAIL.cut(np.arange(900, dtype=np.int32), 510)
    assert (kept[127], kept[128]) == (127, 900 - 382)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tiny: Any) -> Any:
    from pipeline.modeling.loading import load_tokenizer
    from pipeline.modeling.model_sources import find_model

    return load_tokenizer(find_model(str(tiny.folder(request.param))))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    words = np.random.default_rng(0).choice(PLAIN, max(LENGTHS))
    return [" ".join(words[:length]) for length in LENGTHS]


def rows(table: TokenTable) -> list[list[int]]:
    return [table.tokens(row).tolist() for row in range(len(table.lengths))]


def test_every_piece_stands_between_special_tokens_and_short_texts_are_as_ever(tokenizer: Any, texts: list[str]) -> None:
    head = encode_texts(texts, tokenizer, 16)
    ends = encode_texts(texts, tokenizer, 16, reading=HEAD_TAIL)
    windows = encode_texts(texts, tokenizer, 16, reading=WINDOWS)
    whole = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    special = "".join(map(str, tokenizer(texts[-1], return_special_tokens_mask=True, verbose=False)["special_tokens_mask"]))
    before, after = len(special) - len(special.lstrip("1")), len(special) - len(special.rstrip("1"))
    assert before + after == tokenizer.num_special_tokens_to_add() > 0
    assert windows.text_index is not None
    assert windows.losses is not None
    for text, ids in enumerate(whole):
        pieces = [row for row, of in zip(rows(windows), windows.text_index, strict=True) if of == text]
        if len(ids) <= 16:
            assert pieces == [rows(head)[text]] == [rows(ends)[text]] == [ids]
        else:
            assert len(pieces) > 1
            assert {len(piece) for piece in pieces} == {16}
            assert rows(ends)[text][:3] == ids[:3]
            assert rows(ends)[text][-9:] == ids[-9:]
        for piece in pieces:
            assert (piece[:before], piece[16 - after :]) == (ids[:before], ids[len(ids) - after :]) or len(piece) < 16
        assert windows.losses.counts[text, 0] >= len(ids) - before - after - windows.losses.counts[text, 1]
        assert windows.losses.counts[text, 2] == 0
    cut = np.array([max(0, len(ids) - 16) for ids in whole])
    for table in (head, ends):
        assert table.losses is not None
        assert np.array_equal(table.losses.cut, cut)


def test_pieces_are_those_of_the_tokenizer_itself_but_for_the_last(tokenizer: Any, texts: list[str]) -> None:
    specials = tokenizer.num_special_tokens_to_add()
    overlap = int(0.25 * (16 - specials))
    theirs = tokenizer(texts, truncation=True, max_length=16, stride=overlap, return_overflowing_tokens=True)
    of = np.array(theirs["overflow_to_sample_mapping"])
    ours = encode_texts(texts, tokenizer, 16, reading=WINDOWS)
    assert ours.text_index is not None
    assert np.array_equal(np.bincount(of), np.bincount(ours.text_index))
    last = np.append(np.diff(of) > 0, True)
    for mine, other, is_last in zip(rows(ours), theirs["input_ids"], last, strict=True):
        if not is_last or len(other) == len(mine):
            assert mine == other
        else:
            assert mine[-len(other) + 1 :] == other[1:]


class Tokenizer:
    """A token a letter between 1 and 2, as Python's own tokenizers are: without any of the fast ones' extras."""

    all_special_ids = (1, 2)
    unk_token_id = None

    def __call__(self, texts: list[str], truncation: bool = False, max_length: int = 0, **options: Any) -> dict[str, Any]:
        around = options.get("add_special_tokens", True)
        cut = [[*map(ord, text)][: max_length - 2 if truncation else None] for text in texts]
        return {"input_ids": [[1, *ids, 2] if around else ids for ids in cut]}


def windows(texts: Sequence[str]) -> TokenTable:
    return encode_texts(texts, Tokenizer(), 6, reading=WINDOWS)


def test_a_table_of_pieces_is_kept_and_read_as_it_was_made(tmp_path: Any) -> None:
    import pandas as pd

    data = pd.DataFrame({"text": ["abcdefghij", "abc", "", "abcdefg"], "label": [3, 1, 0, 2]})
    made, again = (tokenize(data, Tokenizer(), "k", 6, "c", str(tmp_path), reading=WINDOWS) for _ in range(2))
    other = [
        tokenize(data, Tokenizer(), "k", 6, "c", str(tmp_path), reading=reading) for reading in (LongTextReading(), HEAD_TAIL)
    ]
    for table in (made, again):
        assert table.text_index is not None
        assert table.text_index.tolist() == [0, 0, 0, 1, 2, 3, 3]
        assert table.labels.tolist() == [3, 1, 0, 2]
        assert table.piece_labels.tolist() == [3, 3, 3, 1, 0, 2, 2]
        assert len(table) == 4
        assert ["".join(map(chr, row[1:-1])) for row in rows(table)] == ["abcd", "defg", "ghij", "abc", "", "abcd", "defg"]
        assert [table.count_texts(np.array(some)) for some in ([0, 1, 2], [1, 2], [3, 5], range(7))] == [1, 0, 2, 4]
    assert [len(table.lengths) for table in other] == [4, 4]
    assert other[0].tokens(0).tolist() != other[1].tokens(0).tolist()


def test_a_damaged_index_of_texts_is_made_anew(tmp_path: Any) -> None:
    import pandas as pd

    data = pd.DataFrame({"text": ["abcdefghij", "abc"], "label": [1, 0]})
    for content in (None, b"noise"):
        tokenize(data, Tokenizer(), "k", 6, "c", str(tmp_path), reading=WINDOWS)
        file = next(tmp_path.rglob("text_index.npy"))
        file.unlink()
        if content:
            file.write_bytes(content)
        table = tokenize(data, Tokenizer(), "k", 6, "c", str(tmp_path), reading=WINDOWS)
        assert table.text_index is not None
        assert table.text_index.tolist() == [0, 0, 0, 1]


@given(st.lists(st.text("ab", max_size=20), min_size=1, max_size=8), st.data())
def test_a_subset_holds_all_pieces_of_the_chosen_texts(texts: list[str], data: st.DataObject) -> None:
    chosen = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10)), np.int64)
    table, expected = windows(texts).subset(chosen), windows([texts[text] for text in chosen])
    assert rows(table) == rows(expected)
    assert table.text_index is not None
    assert expected.text_index is not None
    assert table.text_index.tolist() == expected.text_index.tolist()
    assert table.losses is not None
    assert expected.losses is not None
    assert table.losses.metrics() == expected.losses.metrics()


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["abc" * row for row in range(10)]
    whole = windows(texts)
    monkeypatch.setattr(tokenization, "_FEW", 3)
    chunked = windows(texts)
    assert np.array_equal(whole.ids, chunked.ids)
    assert np.array_equal(whole.text_index, chunked.text_index)


def test_what_is_read_in_windows_is_counted_and_said() -> None:
    losses = windows(["abcdefghij", "abc", "abcd", "abcdefg"]).losses
    assert losses is not None
    assert losses.metrics() == {
        "data/texts_in_windows_percent": 50.0,
        "data/pieces": 7,
        "data/texts_cut_percent": 0.0,
        "data/tokens_cut_percent": 0.0,
        "data/unknown_tokens_percent": 0.0,
    }
    assert list(describe_losses(losses.metrics(), 6, "minilm", "windows")) == [
        "50.0 % of the training texts are longer than 6 tokens and read in windows (7 pieces of all texts); 0.0 % of the "
        "tokens are unknown to the tokenizer."
    ]
    ends = encode_texts(["abcdefghij", "abc"], Tokenizer(), 6, reading=HEAD_TAIL).losses
    assert ends is not None
    assert "are cut in the middle, to 6 tokens (46.2 % of all tokens are lost)" in next(
        describe_losses(ends.metrics(), 6, "minilm", "head_tail")
    )


@given(st.lists(st.integers(1, 4), max_size=6), st.sampled_from([(), (2,), (3, 2)]))
def test_outputs_are_averaged_by_text_and_those_of_one_piece_stay_to_the_bit(counts: list[int], shape: tuple[int, ...]) -> None:
    index = np.repeat(np.arange(len(counts)), counts)
    outputs = np.random.default_rng(0).normal(size=(len(index), *shape)).astype(np.float32)
    averaged = average_by_text(outputs, index)
    assert averaged.dtype == np.float32
    assert averaged.shape == (len(counts), *shape)
    for text, count in enumerate(counts):
        own = outputs[index == text]
        assert np.allclose(averaged[text], own.mean(axis=0), atol=1e-6)
        assert count > 1 or averaged[text].tobytes() == own[0].tobytes()
    assert average_by_text(outputs, None) is outputs


def test_what_cannot_be_cut_is_refused_with_the_way_out() -> None:
    class Between(Tokenizer):
        def __call__(self, texts: list[str], **options: Any) -> dict[str, Any]:
            around = options.get("add_special_tokens", True)
            return {"input_ids": [[1, 5, 2, 5] if around else [5, 5] for _ in texts]}

    with pytest.raises(ConfigError, match=r"--long-texts windows: .* where special tokens belong is not known"):
        cut_texts(["abc"], Between(), 6, WINDOWS)
    with pytest.raises(
        ConfigError, match=r"--long-texts head_tail: .* 2 tokens \(--max-length\) .* Give --max-length 3 or more"
    ):
        cut_texts(["abc"], Tokenizer(), 2, HEAD_TAIL)
    with pytest.raises(ConfigError, match="--long-texts windows: is for single texts"):
        WINDOWS.check(pairs=True, tokenizer=Tokenizer(), max_length=6)
    with pytest.raises(ConfigError, match=r"--long-texts windows: .* Give --max-length 3 or more"):
        WINDOWS.check(pairs=False, tokenizer=Tokenizer(), max_length=1)
    WINDOWS.check(pairs=False, tokenizer=Tokenizer(), max_length=3)
    LongTextReading().check(pairs=True, tokenizer=None, max_length=1)
    with pytest.raises(ConfigError, match="--window-overlap: --long-texts head, head_tail makes no windows"):
        refuse_idle_overlap({"window_overlap"}, ["head_tail", "head", "head"])
    refuse_idle_overlap({"window_overlap"}, ["head", "windows"])
    refuse_idle_overlap({"seed"}, ["head"])
