import random
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.labels import as_series, as_texts
from pipeline.data.overlap import normalization
from pipeline.data.overlap.normalization import fold_text, fold_texts, number_texts


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Good film.", "good film"),
        ("good\tfilm", "good film"),
        ("a well-made,\u00a0funny FILM", "a well made funny film"),
        ("I don't", "i dont"),
        ("the dogs\u2019", "the dogs"),
        ("`` fine ''", "fine"),
        ("\ufb01ne", "fine"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("\u0915\u093f\u0924\u093e\u092c", "\u0915\u093f\u0924\u093e\u092c"),
        ("1 + 1", "1 + 1"),
        ("\U0001f44d!", "\U0001f44d"),
        (" ... !", "... !"),
        ("'", "'"),
        ("", ""),
    ],
)
def test_what_is_left_of_a_text(text: str, line: str) -> None:
    assert fold_text(text) == line


def groups(numbers: Sequence[int]) -> list[int]:
    """Where each value stands first, which does not depend on the numbers chosen."""
    listed = list(numbers)
    return [listed.index(number) for number in listed]


TEXTS = st.lists(st.lists(st.sampled_from(["a", "A", "b", "a-b", "ab", "'", "...", "!", "é", "\n"]), max_size=6).map(" ".join))


@pytest.mark.parametrize("chunk", [1, 3, 50_000])
@given(texts=TEXTS)
def test_numbers_are_equal_where_texts_lines_and_keys_are(chunk: int, texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalization, "_CHUNK", chunk)
        folded = fold_texts({"train": texts[::2], "test": texts[1::2]})
    texts = [*texts[::2], *texts[1::2]]
    lines = [fold_text(text) for text in texts]
    assert groups(folded.text_of) == [texts.index(text) for text in texts]
    assert groups(folded.line_of) == [lines.index(line) for line in lines]
    keys = [line.replace(" ", "") for line in lines]
    assert groups(folded.key_of) == [keys.index(key) for key in keys]
    distinct = list(dict.fromkeys(lines))
    assert folded.lengths.tolist() == [len(line.split()) for line in distinct]
    words = [word for line in distinct for word in line.split()]
    assert groups(folded.tokens) == [words.index(word) for word in words]
    assert [folded.key_of_line[line] for line in folded.line_of] == folded.key_of.tolist()


def test_columns_in_several_pieces_are_numbered_as_lists_are() -> None:
    texts = [f"text {random.Random(row).randrange(40)}" for row in range(200)]
    pieces = pd.concat([as_series(as_texts_of(texts[:90])), as_series(as_texts_of(texts[90:]))], ignore_index=True)
    numbers, distinct = number_texts({"train": pieces, "test": texts})
    assert numbers["train"].tolist() == numbers["test"].tolist()
    assert [distinct[number].as_py() for number in numbers["train"]] == texts


def as_texts_of(texts: list[str]):
    import pyarrow as pa

    return as_texts(pa.array(texts), "here", "text")
