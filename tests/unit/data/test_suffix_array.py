import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.overlap import suffix_array
from pipeline.data.overlap.suffix_array import LineIndex


@pytest.mark.parametrize("at_once", [1, 7, 2**20])
@given(lines=st.lists(st.lists(st.integers(0, 2), max_size=40).map(tuple), unique=True, max_size=12))
def test_the_suffix_array_is_sorted_however_little_is_sorted_at_once(at_once: int, lines: list[tuple[int, ...]]) -> None:
    tokens = np.array([token for line in lines for token in line], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suffix_array, "_SORTED_AT_ONCE", at_once)
        index = LineIndex(tokens, np.array([len(line) for line in lines], np.int32))
    ends = index.starts + index.lengths
    suffixes = [tokens[place : ends[index.line_of[place]]].tolist() for place in index.order]
    assert suffixes == sorted(suffixes)
    assert sorted(index.order.tolist()) == list(range(len(tokens)))
