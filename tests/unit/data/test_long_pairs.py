import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from pipeline.data.long_texts import shorten_long_pairs
from pipeline.data.tokenization import encode_columns
from pipeline.modeling.loading import load_tokenizer
from pipeline.modeling.model_sources import find_model

WORDS = ("fine", "dull", "plot", "unbelievable", "word7", "café", "'tis", "the")


def long_text(generator: np.random.Generator, words: int, joint: str) -> str:
    return joint.join(generator.choice(WORDS, words))


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
@pytest.mark.parametrize("max_length", [15, 16])
@pytest.mark.parametrize("joint", [" ", "", "  "])
def test_a_shortened_pair_has_the_tokens_of_the_whole_one(tiny, family: str, max_length: int, joint: str) -> None:
    tokenizer = load_tokenizer(find_model(str(tiny.folder(family))))
    generator = np.random.default_rng(max_length)
    sizes = [(200, 200), (201, 200), (200, 201), (300, 5), (5, 300), (3, 3), (120, 400), (0, 300)]
    pairs = [(long_text(generator, first, joint), long_text(generator, second, joint)) for first, second in sizes]
    firsts, seconds = map(list, zip(*pairs, strict=True))
    expected = tokenizer(firsts, seconds, truncation=True, max_length=max_length)["input_ids"]
    found = encode_columns(firsts, seconds, tokenizer, max_length)
    assert found.ids.tolist() == [token for ids in expected for token in ids]
    whole = tokenizer(firsts, seconds, verbose=False)["input_ids"]
    assert found.losses[:, 2].tolist() == [len(ids) - len(cut) for ids, cut in zip(whole, expected, strict=True)]
    short = shorten_long_pairs([firsts, seconds], tokenizer, max_length)
    assert len(short[0][0]) < len(firsts[0]) / 2
    assert (short[0][5], short[1][5]) == pairs[5]


def test_no_book_is_cut_within_a_pair(tiny) -> None:
    tokenizer = load_tokenizer(find_model(str(tiny.folder())))
    asked = []

    class Recorder:
        is_fast = True

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, *columns, **options):
            asked.append((options["truncation"], len(columns), max(map(len, columns[0]))))
            return tokenizer(*columns, **options)

    book = "the plot of this film is dull and " * 2_000
    assert encode_columns([book], [book], Recorder(), 16).ids.shape == (16,)
    assert [longest for truncated, count, longest in asked if truncated and count == 2] == [pytest.approx(320, rel=0.5)]


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        ("tokenizer_config.json", {"truncation_side": "left", "padding_side": "left"}),
        ("tokenizer.json", {"truncation": {"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0}}),
    ],
    ids=["settings", "tokenizer"],
)
def test_the_beginning_is_read_and_the_end_is_padded_whatever_a_tokenizer_does(tiny, tmp_path, file: str, entries: Any) -> None:
    folder = Path(shutil.copytree(tiny.folder(), tmp_path / "model"))
    (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **entries}))
    assert AutoTokenizer.from_pretrained(folder).truncation_side == "left"
    plain, tokenizer = (load_tokenizer(find_model(str(path))) for path in (tiny.folder(), folder))
    texts = [long_text(np.random.default_rng(words), words, " ") for words in (3, 20, 400)]
    for seconds in (None, texts[::-1], texts):
        found, expected = (encode_columns(texts, seconds, each, 16) for each in (tokenizer, plain))
        assert np.array_equal(found.ids, expected.ids)
        assert np.array_equal(found.losses, expected.losses)
    tokenizer.save_pretrained(tmp_path / "exported")
    exported = AutoTokenizer.from_pretrained(tmp_path / "exported")
    for columns in ([texts], [texts, texts[::-1]]):
        cut = {"truncation": True, "max_length": 16, "padding": True}
        assert exported(*columns, **cut)["input_ids"] == plain(*columns, **cut)["input_ids"]
