import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config as configs
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
    assert configs.parse_arguments(text) == arguments


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
        configs.parse_arguments(text)
    assert message in str(caught.value)


@given(st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=3), max_size=5))
def test_arguments_survive_being_typed(arguments: dict[str, str | list[str]]) -> None:
    typed = ", ".join(f"{k}=[{','.join(v)}]" if isinstance(v, list) else f"{k} = {v}" for k, v in arguments.items())
    assert configs.parse_arguments(typed) == arguments


@given(st.text() | st.text("ab=[], "))
def test_any_text_gives_arguments_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        arguments = configs.parse_arguments(text)
        assert isinstance(arguments, dict)
        assert all(key and key in text for key in arguments)


def test_identity_leaves_out_how_a_run_is_carried_out() -> None:
    config = configs.TrainConfig(strategy="partial", strategy_args={"top_k": 2})
    same = configs.TrainConfig(strategy="partial", strategy_args={"top_k": 2}, cache_dir="elsewhere", recipe="other")
    assert configs.identity(config) == configs.identity(same)
    assert configs.identity(config) != configs.identity(configs.TrainConfig(strategy="partial", strategy_args={"top_k": 3}))
    assert configs.identity(configs.CompareConfig(run_ids=("a", "b")))["run_ids"] == ["a", "b"]


@pytest.mark.parametrize(
    "differs", [*({seed: 7} for seed in configs.SEEDS), {"precision": "bf16"}, {"cache_dir": "x"}], ids=str
)
def test_repetitions_have_the_same_settings(differs: dict[str, object]) -> None:
    config, other = configs.TrainConfig(), configs.TrainConfig(**differs)  # type: ignore[arg-type]
    assert configs.settings_hash(config) == configs.settings_hash(other)
    assert (configs.identity(config) == configs.identity(other)) == ("cache_dir" in differs)


@pytest.mark.parametrize(
    "differs", [{"learning_rate": 1e-4}, {"strategy": "bitfit"}, {"strategy_args": {"top_k": 2}}, {"split_seed": 7}], ids=str
)
def test_what_is_no_repetition_has_other_settings(differs: dict[str, object]) -> None:
    other = configs.TrainConfig(**differs)  # type: ignore[arg-type]
    assert configs.settings_hash(configs.TrainConfig()) != configs.settings_hash(other)
