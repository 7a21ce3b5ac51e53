"""Pairs as token ids: together in one input as transformers encodes them, or apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_models import tells_segments

from pipeline.data import tokenization
from pipeline.data.batching import TokenExamples
from pipeline.data.pair_tokenization import encode_apart, tokenize_apart
from pipeline.data.tokenization import encode_texts, tokenize
from pipeline.modeling.loading import load_tokenizer
from pipeline.modeling.model_sources import find_model

TABLE = pd.DataFrame(
    {
        "text": ["fine film", "a dull plot and a grim story of it", "warm", "the"],
        "text_pair": ["dull", "witty", "the scene was lovely and the actor sharp", "film " * 30],
        "label": [0.5, 1.0, 4.0, 2.5],
    }
)
PAIRS = list(zip(TABLE["text"], TABLE["text_pair"], strict=True))


@pytest.mark.parametrize("max_length", [64, 12, 5])
def test_a_pair_in_one_input_is_as_transformers_encodes_it(tiny, family, tmp_path, max_length: int) -> None:
    address = find_model(str(tiny.folder(family)))
    tokenizer, segments = load_tokenizer(address), address.encoder.tells_segments
    table = tokenize(TABLE, tokenizer, "k", max_length, "c", str(tmp_path), segments)
    cut = {"truncation": "longest_first", "max_length": max_length, "padding": True}
    expected = tokenizer(TABLE["text"].tolist(), TABLE["text_pair"].tolist(), return_token_type_ids=segments, **cut)
    lengths = np.sum(expected["attention_mask"], axis=1)
    assert table.lengths.tolist() == lengths.tolist()
    examples = TokenExamples(table, tokenizer.pad_token_id)
    for reread in (examples, TokenExamples(encode_texts(PAIRS, tokenizer, max_length, segments), tokenizer.pad_token_id)):
        batch = reread.batch(np.arange(4)).inputs
        for row, length in enumerate(lengths):
            assert batch["input_ids"][row, :length].tolist() == expected["input_ids"][row][:length]
            if segments:
                assert batch["token_type_ids"][row, :length].tolist() == expected["token_type_ids"][row][:length]
                assert batch["token_type_ids"][row, length:].sum() == 0
        assert ("token_type_ids" in batch) == segments
    assert segments == tells_segments(tiny.folder(family))
    if segments and max_length == 64:
        assert batch["token_type_ids"].max() == 1
    again = tokenize(TABLE, None, "k", max_length, "c", str(tmp_path), segments)
    assert np.array_equal(again.ids, table.ids)
    chosen = again.subset(np.array([2, 0]))
    assert chosen.tokens(0).tolist() == table.tokens(2).tolist()
    if segments:
        assert len(chosen.segments) == len(chosen.ids)


def test_apart_each_text_is_as_transformers_encodes_it(tiny, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(find_model(str(tiny.folder())))
    pairs = tokenize_apart(TABLE, tokenizer, "k", 8, "c", str(tmp_path))
    assert len(pairs) == 4
    assert pairs.labels.tolist() == TABLE["label"].tolist()
    for row in range(4):
        for side, column in enumerate(("text", "text_pair")):
            ids = tokenizer(TABLE[column][row], truncation=True, max_length=8)["input_ids"]
            assert pairs.texts.tokens(2 * row + side).tolist() == ids
    assert np.array_equal(encode_apart(PAIRS, tokenizer, 8).texts.ids, pairs.texts.ids)
    assert np.array_equal(tokenize_apart(TABLE, None, "k", 8, "c", str(tmp_path)).texts.ids, pairs.texts.ids)


def test_together_and_apart_are_kept_apart_in_the_cache(tiny, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(find_model(str(tiny.folder())))
    for _ in range(2):
        assert tokenize_apart(TABLE, tokenizer, "k", 8, "c", str(tmp_path)).texts.lengths.shape == (8,)
        assert tokenize(TABLE, tokenizer, "k", 8, "c", str(tmp_path), True).segments is not None
        assert tokenize(TABLE, tokenizer, "k", 8, "c", str(tmp_path)).segments is None
        assert tokenize(TABLE.drop(columns="text_pair"), tokenizer, "k", 8, "c", str(tmp_path)).lengths.shape == (4,)


def test_chunks_make_no_difference(tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(find_model(str(tiny.folder())))
    whole = tokenize_apart(TABLE, tokenizer, "k", 8, "c", str(tmp_path / "a"))
    for chunk in (1, 2, 3):
        monkeypatch.setattr(tokenization, "_CHUNK", chunk)
        found = tokenize_apart(TABLE, tokenizer, "k", 8, "c", str(tmp_path / str(chunk)))
        assert np.array_equal(found.texts.ids, whole.texts.ids)


WORDS = st.lists(st.sampled_from(["fine", "dull", "film", "the", "story"]), min_size=1, max_size=9).map(" ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8), data=st.data())
def test_a_batch_holds_all_first_texts_and_then_all_second_ones(tiny, pairs, data) -> None:
    tokenizer = load_tokenizer(find_model(str(tiny.folder())))
    table = encode_apart(pairs, tokenizer, 16)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=6)), np.int64)
    for few, rows in ((table, chosen), (table.subset(chosen), np.arange(len(chosen)))):
        examples = few.as_examples(lambda texts: TokenExamples(texts, tokenizer.pad_token_id))
        batch = examples.batch(rows)
        assert batch.shape == (2 * len(chosen), batch.inputs["input_ids"].shape[1])
        assert len(batch.labels) == len(chosen)
        texts = [pairs[row][side] for side in range(2) for row in chosen]
        expected = tokenizer(texts, truncation=True, max_length=16, padding=True)
        assert batch.inputs["input_ids"].tolist() == expected["input_ids"]
        assert batch.inputs["attention_mask"].tolist() == expected["attention_mask"]
        assert batch.tokens == int(np.sum(expected["attention_mask"]))
        assert max(examples.lengths[rows]) == 2 * batch.shape[1]
