import dataclasses
import datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pipeline.config.fields import (
    Count,
    Names,
    NonNegative,
    Probability,
    Rate,
    Seed,
    Share,
    as_dict,
    build,
    config_class,
    describe_fields,
)
from pipeline.errors import ConfigError


@config_class
class Base:
    top_k: Count = 4
    """How many layers
    train."""


@config_class
class Example(Base):
    rate: Rate = 2e-5
    share: Share = 0.1
    probability: Probability = 0.1
    decay: NonNegative = 0.0
    seed: Seed = 42
    limit: Count | None = None
    column: str | None = None
    flag: bool = False
    """A switch."""
    kind: Literal["random", "official"] = "random"
    names: Names = ()
    pairs: Annotated[dict[str, Any], Field()] = Field(default_factory=dict)


def make(**values: object) -> Example:
    return build(Example, values, label=lambda name: "--" + name.replace("_", "-"), kind="option")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1e-4", 1e-4),
        ("rate", "3E-5", 3e-5),
        ("rate", 1, 1.0),
        ("top_k", "12", 12),
        ("seed", "0", 0),
        ("share", "1", 1.0),
        ("flag", "False", False),
        ("flag", "true", True),
        ("limit", "", None),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("column", "None", None),
        ("column", "body", "body"),
        ("kind", "official", "official"),
        ("names", "lora, full,,", ("lora", "full")),
        ("names", ["lora", "full"], ("lora", "full")),
        ("names", "", ()),
        ("names", [1, 2.5, "x"], ("1", "2.5", "x")),
        ("names", 3, ("3",)),
        ("column", 3, "3"),
    ],
)
def test_text_is_parsed_into_the_type_of_the_field(name: str, text: object, value: object) -> None:
    parsed = getattr(make(**{name: text}), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "way_out"),
    [
        ("top_k", "0", "Give a whole number at least 1 (default 4)."),
        ("top_k", "4.5", "Give a whole number at least 1 (default 4)."),
        ("top_k", "many", "Give a whole number at least 1 (default 4)."),
        ("rate", "0", "Give a number greater than 0 (default 2e-05)."),
        ("rate", "inf", "Give a number greater than 0 (default 2e-05)."),
        ("rate", "nan", "Give a number greater than 0 (default 2e-05)."),
        ("share", "1.1", "Give a number at least 0 and at most 1 (default 0.1)."),
        ("probability", "1", "Give a number at least 0 and less than 1 (default 0.1)."),
        ("decay", "-0.1", "Give a number at least 0 (default 0.0)."),
        ("seed", "-1", "Give a whole number at least 0 and less than 4.29497e+09 (default 42)."),
        ("limit", "0", "Give a whole number at least 1."),
        ("flag", "maybe", "Give true or false (default False)."),
        ("kind", "grouped", "Give one of random, official (default random)."),
        ("pairs", "x", "Give key=value pairs separated by commas, lists in brackets."),
    ],
)
def test_a_wrong_value_is_answered_with_option_value_and_way_out(name: str, value: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(**{name: value})
    assert caught.value.messages == (f"--{name.replace('_', '-')}: got {value!r}. {way_out}",)


@pytest.mark.parametrize(
    ("name", "value", "quotes"),
    [
        ("names", [True, False], True),
        ("names", ["x", None], True),
        ("names", True, True),
        ("column", False, True),
        ("column", datetime.date(2026, 1, 31), True),
        ("names", [["x"]], False),
        ("column", ["x"], False),
        ("kind", True, False),
    ],
)
def test_a_name_that_yaml_reads_otherwise_is_to_be_quoted(name: str, value: object, quotes: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        make(**{name: value})
    way_out = " In a recipe put names such as yes, no, on, off, null and 2026-01-31 in quotes."
    assert str(caught.value).endswith(way_out) == quotes


def test_independent_mistakes_are_reported_together_and_each_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make(top_k="0", rate="fast", topk="3", limit="few")
    unknown_name, *values = caught.value.messages
    assert unknown_name.startswith("Unknown option 'topk'. Did you mean 'top_k'?")
    assert [message.partition(":")[0] for message in values] == ["--top-k", "--rate", "--limit"]


def test_an_unknown_name_alone_is_a_mistake_too() -> None:
    with pytest.raises(ConfigError, match="Unknown option 'colour'"):
        make(colour="red")


def test_instances_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().top_k = 3  # type: ignore[misc]


def test_as_dict_keeps_order_and_values() -> None:
    values = as_dict(make(names="a,b"))
    assert list(values)[:2] == ["top_k", "rate"]
    assert values["names"] == ("a", "b")


@pytest.mark.parametrize(
    ("name", "metavar", "default"),
    [
        ("top_k", "INT", "4"),
        ("rate", "FLOAT", "2e-05"),
        ("limit", "INT", ""),
        ("column", "TEXT", ""),
        ("flag", "true|false", "False"),
        ("kind", "[random|official]", "random"),
        ("names", "A,B,...", ""),
        ("pairs", "K=V,...", ""),
    ],
)
def test_descriptions_say_what_to_type_and_what_holds_without(name: str, metavar: str, default: str) -> None:
    description = describe_fields(Example)[name]
    assert (description.metavar, description.default_text) == (metavar, default)


def test_help_is_the_string_below_a_field_and_survives_inheritance() -> None:
    described = describe_fields(Example)
    assert described["top_k"].help == "How many layers train."
    assert described["flag"].help == "A switch."
    assert described["rate"].help == ""
