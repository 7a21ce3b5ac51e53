import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.fields import parse_arguments
from pipeline.errors import ConfigError

WORDS = st.text("abcxyz0123456789_.-", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (None, {}),
        ("", {}),
        (" , ", {}),
        ("top_k=4", {"top_k": "4"}),
        (" r = 16 , alpha=32, ", {"r": "16", "alpha": "32"}),
        ("targets=[query, value],r=4", {"targets": ["query", "value"], "r": "4"}),
        ("targets=[]", {"targets": []}),
        ("name=a=b", {"name": "a=b"}),
        ("name=", {"name": ""}),
        ({"top_k": 4}, {"top_k": 4}),
    ],
)
def test_strategy_arguments_are_key_value_pairs(text: object, arguments: dict[str, object]) -> None:
    assert parse_arguments(text) == arguments


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", "--strategy-args: '4' is not key=value. Write for example r=16,alpha=32."),
        ("=4", "--strategy-args: '=4' is not key=value."),
        ("top_k=4,top_k=5", "--strategy-args: 'top_k' is given twice. Give it once."),
        ("a=[1,2", "--strategy-args: the brackets of 'a=[1,2' do not match. Write a list as key=[a,b]."),
        ("a=1]", "the brackets of 'a=1]' do not match"),
        ("a=[[1]]", "the brackets of 'a=[[1]]' do not match"),
    ],
)
def test_malformed_arguments_are_answered_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_arguments(text)
    assert message in str(caught.value)


@given(st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=3), max_size=5))
def test_arguments_survive_being_typed(arguments: dict[str, str | list[str]]) -> None:
    typed = ", ".join(f"{k}=[{','.join(v)}]" if isinstance(v, list) else f"{k} = {v}" for k, v in arguments.items())
    assert parse_arguments(typed) == arguments


@given(st.text() | st.text("ab=[], "))
def test_any_text_gives_arguments_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        arguments = parse_arguments(text)
        assert isinstance(arguments, dict)
        assert all(key and key in text for key in arguments)
