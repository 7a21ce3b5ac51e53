import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.config import TrainConfig
from pipeline.config.fields import config_class, describe_fields, parse_arguments
from pipeline.config.options import STAGE_CONFIGS
from pipeline.errors import ConfigError, PluginError
from pipeline.registry import STRATEGIES, Registry
from pipeline.stages.configure import configure
from pipeline.strategies import methods
from pipeline.strategies.base import (
    Strategy,
    create_strategy,
    list_strategies,
    strategy_arguments,
    strategy_class,
    strategy_options,
)
from pipeline.strategies.baseline import Baseline


def test_the_strategies_are_found_and_the_machinery_is_not_among_them() -> None:
    names = list_strategies()
    assert {"full", "partial", "bitfit", "lora", "prefix", "head_only"} <= set(names)
    assert names == sorted(names)
    assert "base" not in names


@pytest.mark.parametrize("name", list_strategies())
def test_a_strategy_says_what_it_is_and_its_arguments_come_back(name: str) -> None:
    cls = strategy_class(name)
    assert cls.summary().endswith(".")
    strategy = create_strategy(name, {})
    assert strategy.name == name
    if isinstance(strategy, Strategy):
        assert type(strategy).phases is not Strategy.phases
    else:
        assert isinstance(strategy, Baseline)
        assert type(strategy).learn is not Baseline.learn
    assert create_strategy(name, strategy_arguments(strategy)) == strategy
    assert [field for field, described in describe_fields(cls).items() if not described.help] == []


def test_no_strategy_argument_shadows_an_option() -> None:
    options = {name for cls in STAGE_CONFIGS.values() for name in describe_fields(cls)}
    names = list_strategies()
    assert names
    shadowing = {name: set(describe_fields(strategy_class(name))) & options for name in names}
    assert shadowing == {name: set() for name in names}
    assert any(describe_fields(strategy_class(name)) for name in names), "some strategy has arguments"


def test_arguments_are_typed_and_ready_for_json() -> None:
    strategy = create_strategy("lora", parse_arguments("r=16,alpha=3e1,targets=[query, value]"))  # type: ignore[arg-type]
    arguments = strategy_arguments(strategy)
    assert arguments == {"r": 16, "alpha": 30.0, "lora_dropout": 0.0, "targets": ["query", "value"]}
    assert create_strategy("partial", {"top_k": "4"}) == create_strategy("partial", {"top_k": 4})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lorra", {}, "Unknown strategy 'lorra'. Did you mean 'lora'? Available: adalora, attention, bitfit, "),
        ("base", {}, "Unknown strategy 'base'."),
        ("partial", {"topk": 4}, "Unknown argument of strategy 'partial': 'topk'. Did you mean 'top_k'? Available: top_k."),
        ("full", {"top_k": 4}, "Unknown argument of strategy 'full': 'top_k'. Available: none."),
        ("partial", {"top_k": "0"}, "partial: top_k: got '0'. Give a whole number at least 1 (default 4)."),
        ("prefix", {"projection": "maybe"}, "prefix: projection: got 'maybe'. Give true or false (default True)."),
    ],
)
def test_a_wrong_name_or_value_is_answered_with_the_way_out(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_strategy(name, arguments)
    assert str(caught.value).startswith(message)


def test_all_mistakes_in_the_arguments_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        create_strategy("lora", {"rank": 4, "r": "x", "alpha": -1})
    assert len(caught.value.messages) == 3


@pytest.mark.parametrize("count", [0, 2])
def test_a_module_that_does_not_define_exactly_one_strategy_is_its_authors_mistake(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    module = ModuleType("pipeline.strategies.methods.mine")
    for number in range(count):
        setattr(module, f"Mine{number}", config_class(type(f"Mine{number}", (Strategy,), {"__module__": module.__name__})))
    module.Strategy = Strategy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Registry, "names", lambda self: ["mine"])
    with pytest.raises(TypeError, match=f"must define exactly one strategy, not {count}"):
        strategy_class("mine")


TWO = """
from pipeline.config.fields import Count, config_class
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase, everything


@config_class
class _Base(Strategy):

    def phases(self, context):
        return [Phase.training(everything)]


@config_class
class FirstOfTwo(_Base):
    pass


@config_class
class {second}(_Base):
    pass
"""


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a file beside the strategies for as long as the test lasts."""
    added: list[str] = []
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])

    def put(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        added.append(f"{methods.__name__}.{name}")

    yield put
    for name in added:
        sys.modules.pop(name, None)


def test_of_several_strategies_in_a_file_each_is_called_as_its_class(add: Callable[[str, str], None]) -> None:
    add("of_a_kind", TWO.format(second="B2b"))
    assert {"first_of_two", "b2b"} <= set(list_strategies())
    assert "of_a_kind" not in list_strategies()
    assert STRATEGIES.module_name("b2b") == STRATEGIES.module_name("first_of_two") == f"{methods.__name__}.of_a_kind"
    assert f"{methods.__name__}.of_a_kind" not in sys.modules, "nothing was imported for that"
    assert len(set(STRATEGIES.modules())) == len(STRATEGIES.modules())
    for name in ("first_of_two", "b2b"):
        assert create_strategy(name, {}).name == name


def test_two_strategies_of_one_name_are_their_authors_mistake(add: Callable[[str, str], None]) -> None:
    add("of_a_kind", TWO.format(second="Lora"))
    with pytest.raises(PluginError, match="there are two of strategy lora"):
        list_strategies()


def test_an_argument_that_shadows_an_option_is_its_authors_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pipeline.strategies.methods.mine")
    fields = {"__module__": module.__name__, "__annotations__": {"dropout": float, "depth": int}, "dropout": 0.1, "depth": 1}
    module.Mine = config_class(type("Mine", (Strategy,), fields))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Registry, "names", lambda self: ["mine"])
    with pytest.raises(TypeError, match=r"mine: dropout shadows an option\. Rename the field"):
        strategy_class("mine")


@pytest.mark.parametrize("name", ["boft", "c3a", "hra", "lora_plus", "shira"])
def test_methods_that_no_recipe_knows_bring_a_rate_at_which_they_learn(name: str) -> None:
    given = configure(TrainConfig, {"strategy": name})
    assert given.learning_rate == strategy_options(name)["learning_rate"] > 1e-4
    assert configure(TrainConfig, {"strategy": name, "learning_rate": "1e-5"}).learning_rate == 1e-5
