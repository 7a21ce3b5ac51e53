"""Typed, self-describing fields: one mechanism for stage options and for strategy arguments.

A class decorated with `typed` is a frozen dataclass whose values are parsed from text and checked by pydantic (YAML reads
`1e-4` as a string, MLflow hands every value over as one). The string below a field is its help text.
"""

from __future__ import annotations

import dataclasses
import datetime
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import annotated_types
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs, CoreSchema, core_schema

from pipeline.errors import ConfigError, shorten, unknown

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def config_class(cls: type[T]) -> type[T]:
    """Make `cls` a frozen keyword-only dataclass with parsed and checked fields."""
    decorate = pydantic_dataclass(
        frozen=True,
        kw_only=True,
        # YAML reads the class 1, the column 3 and the sheet 2 as numbers.
        config=ConfigDict(use_attribute_docstrings=True, extra="forbid", validate_default=True, coerce_numbers_to_str=True),
    )
    return typing.cast(type[T], decorate(cls))


def split_names(value: object) -> object:
    """The names of a text that holds commas between them, or the one that YAML reads as a number; anything else as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (str(value),)
    return value


def _read_no(value: object) -> object:
    """YAML reads `no` as false."""
    return "no" if value is False else value


SEED_LIMIT = 2**32
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Overlap = Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)]
Pooling = Literal["mean", "cls", "max"]
OptimizerName = Literal["adamw", "adafactor"]
Schedule = Literal["linear", "cosine", "constant"]
LongTexts = Literal["head", "head_tail", "windows"]
Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Fair = Annotated[Literal["no", "targets", "parameters", "both"], BeforeValidator(_read_no)]


@dataclasses.dataclass(frozen=True)
class Expects:
    """Stands among a field's annotations where its type does not say what values it takes."""

    words: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """Stands among a text field's annotations: one of the names that plug-ins declare."""

    list_names: Callable[[], Sequence[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the text, with the check."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        if value not in self.list_names():
            raise ValueError("is none of the names")
        return value


@dataclasses.dataclass(frozen=True)
class Operational:
    """Stands among a field's annotations where it says how work is carried out, as against what that computes.

    Such a field is left out of a configuration's identity, and no recipe sets it. So an interrupted training goes on with
    another `num_processes`; what compares finished runs looks at that number beside the identity (comparison/comparability.py).
    """


_AS_DECLARED = object()


@dataclasses.dataclass(frozen=True)
class OfEncoder:
    """Stands among a field's annotations where only the training of an encoder reads it, and that of a baseline does not."""

    otherwise: object = _AS_DECLARED
    """What a baseline's configuration says instead; the field's default if not given."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Stands among a field's annotations: where `--help` shows the option."""

    heading: str
    place: int
    """Below the heading; of several at one place the first declared stands first."""


_DELIMITERS = {"tab": "tab", "\t": "tab", "\\t": "tab", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|"}


def _settle_delimiter(value: object) -> object:
    """One spelling for each, so that equal files are read, and known again, whatever was typed."""
    if isinstance(value, str) and value not in ("\t", " "):
        value = value.strip()
    return _DELIMITERS.get(value.lower(), value) if isinstance(value, str) else value


def _check_delimiter(value: str) -> str:
    if value != "tab" and (len(value) != 1 or value in "\"'\r\n\0" or value.isalnum()):
        raise ValueError("must be one character")
    return value


Delimiter = Annotated[
    str,
    BeforeValidator(_settle_delimiter),
    AfterValidator(_check_delimiter),
    Expects('one character that is no letter, digit or quotation mark, such as ";", or tab'),
]


def _read_off(value: object) -> object:
    """YAML reads `off` as false."""
    return ("off",) if value is False else value


def _sort(names: tuple[str, ...]) -> tuple[str, ...]:
    """One order for the same names, each once."""
    return tuple(sorted(set(names)))


Switches = Annotated[Names, BeforeValidator(_read_off), AfterValidator(_sort)]


def _check_ratios(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        raise ValueError("must be positive and sum to 1")
    return shares


Ratios = Annotated[
    tuple[float, float, float],
    BeforeValidator(split_names),
    AfterValidator(_check_ratios),
    Expects("three shares above 0 that sum to 1, separated by commas, such as 0.7,0.1,0.2"),
]


@dataclasses.dataclass(frozen=True)
class FieldDescription:
    """What is known about one field of a typed class."""

    name: str
    default: object
    help: str
    expects: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    operational: bool = False
    of_encoder: OfEncoder | None = None
    group: Group | None = None

    @property
    def without_encoder(self) -> object:
        """The value in a configuration that trains no encoder."""
        of_encoder = self.of_encoder
        return self.default if of_encoder is None or of_encoder.otherwise is _AS_DECLARED else of_encoder.otherwise

    @property
    def metavar(self) -> str:
        """What stands for the value in a help text."""
        if self.choices:
            return "[" + "|".join(self.choices) + "]"
        return next((short for long, short in _METAVARS.items() if self.expects.startswith(long)), "TEXT")

    @property
    def default_text(self) -> str:
        """The default as a user would type it; empty where there is none."""
        if self.default is None or self.default == () or self.default == {}:
            return ""
        return ",".join(map(str, self.default)) if isinstance(self.default, tuple) else str(self.default)


def describe_fields(cls: type) -> dict[str, FieldDescription]:
    """Name -> description of every field of a typed class, in order of declaration."""
    fields: dict[str, FieldInfo] = cls.__pydantic_fields__  # type: ignore[attr-defined]
    # pydantic reads the strings below fields in the class that declares them, and forgets them in its subclasses.
    inherited = {
        name: info.description
        for base in reversed(cls.__mro__)
        for name, info in getattr(base, "__pydantic_fields__", {}).items()
        if info.description
    }
    described = {}
    for name, info in fields.items():
        default = info.default_factory() if info.default_factory else info.default  # type: ignore[call-arg]
        annotation, optional = _without_none(info.annotation)
        metadata = [*info.metadata, *_nested_metadata(info.annotation)]
        choices = next((tuple(item.list_names()) for item in metadata if isinstance(item, Choice)), ())
        if typing.get_origin(annotation) is Literal:
            choices = tuple(map(str, typing.get_args(annotation)))
        described[name] = FieldDescription(
            name=name,
            default=default,
            help=" ".join((info.description or inherited.get(name) or "").split()),
            expects=_expects(annotation, metadata),
            choices=choices,
            optional=optional,
            operational=any(isinstance(item, Operational) for item in info.metadata),
            of_encoder=next((item for item in info.metadata if isinstance(item, OfEncoder)), None),
            group=next((item for item in info.metadata if isinstance(item, Group)), None),
        )
    return described


def build(cls: type[T], values: Mapping[str, object], label: Callable[[str], str], kind: str) -> T:
    """An instance of the typed class `cls` from raw values, every mistake reported at once.

    Args:
        label: Turns a field's name into what the user typed, such as `--learning-rate`.
        kind: What an unknown name is called in the message.

    Raises:
        ConfigError: An unknown name, or a value of the wrong type or out of range.
    """
    described = describe_fields(cls)
    messages = [unknown(kind, name, described) for name in values if name not in described]
    known = {
        name: None if described[name].optional and value in ("", "none", "None") else value
        for name, value in values.items()
        if name in described
    }
    try:
        instance = cls(**known)
    except ValidationError as error:
        seen = set()
        for detail in error.errors():
            name = str(detail["loc"][0])
            if name in seen:
                continue
            seen.add(name)
            messages.append(_complaint(described[name], label(name), known.get(name, detail["input"])))
        raise ConfigError(*messages) from error
    if messages:
        raise ConfigError(*messages)
    return instance


def as_dict(instance: object) -> dict[str, Any]:
    """Field name -> value, in order of declaration; values stay as they are."""
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}  # type: ignore[arg-type]


def change_values(given: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    """What a typed class is made of, changed: for validators that run before any field is parsed.

    Args:
        given: As pydantic hands it over.
        change: Is given the values by their names, and changes them in place.
    """
    values = dict(given.kwargs or {}) if isinstance(given, ArgsKwargs) else given
    change(values)
    return ArgsKwargs(given.args, values) if isinstance(given, ArgsKwargs) else values


def _complaint(field: FieldDescription, label: str, value: object) -> str:
    default = f" (default {field.default_text})" if field.default_text else ""
    return f"{label}: got {shorten(repr(value))}. Give {field.expects}{default}.{_quoting(field, value)}"


def _quoting(field: FieldDescription, value: object) -> str:
    """The way out where YAML has read a name as something else; empty elsewhere."""
    parts = value if isinstance(value, list | tuple) else () if value is None else (value,)
    misread = any(part is None or isinstance(part, bool | datetime.date) for part in parts)
    is_text = field.expects in (_KINDS[str], _NAMES)
    return " In a recipe put names such as yes, no, on, off, null and 2026-01-31 in quotes." if misread and is_text else ""


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        rest = [part for part in typing.get_args(annotation) if part is not type(None)]
        inner = rest[0]
        if typing.get_origin(inner) is Annotated:
            inner = typing.get_args(inner)[0]
        return inner, len(rest) < len(typing.get_args(annotation))
    return annotation, False


def _nested_metadata(annotation: Any) -> list[Any]:
    """Constraints inside `X | None`, which pydantic keeps with the member and not with the field."""
    constraints: list[Any] = []
    for part in typing.get_args(annotation) if _without_none(annotation)[1] else ():
        if typing.get_origin(part) is Annotated:
            for item in typing.get_args(part)[1:]:
                constraints.extend(item.metadata if isinstance(item, FieldInfo) else [item])
    return constraints


_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (annotated_types.Gt, "gt", "greater than"),
    (annotated_types.Ge, "ge", "at least"),
    (annotated_types.Lt, "lt", "less than"),
    (annotated_types.Le, "le", "at most"),
)
_METAVARS = {
    "a whole number": "INT",
    "a number": "FLOAT",
    "true or false": "true|false",
    "names": "A,B,...",
    "three shares": "A,B,C",
    "key=value": "K=V,...",
}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_NAMES = "names separated by commas"


def _expects(annotation: Any, metadata: list[Any]) -> str:
    for item in metadata:
        if isinstance(item, Expects):
            return item.words
        if isinstance(item, Choice):
            return "one of " + ", ".join(item.list_names())
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(annotation)))
    if origin is tuple or origin is list:
        return _NAMES
    if origin is dict:
        return "key=value pairs separated by commas, lists in brackets"
    kind = _KINDS.get(annotation, "a value")
    bounds = [
        f"{words} {getattr(item, attribute):g}"
        for cls, attribute, words in _BOUNDS
        for item in metadata
        if isinstance(item, cls)
    ]
    return " ".join([kind, " and ".join(bounds)]).strip()


def parse_arguments(value: object) -> object:
    """`{"top_k": "4", "layers": ["1", "2"]}` from `top_k=4,layers=[1,2]`; a mapping passes through.

    Raises:
        ConfigError: A part is not `key=value`, a bracket is not closed, or a key stands twice.
    """
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    arguments: dict[str, object] = {}
    for part in _split_outside_brackets(value):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise ConfigError(f"--strategy-args: {shorten(part)!r} is not key=value. Write for example r=16,alpha=32.")
        if key in arguments:
            raise ConfigError(f"--strategy-args: {shorten(key)!r} is given twice. Give it once.")
        is_list = text.startswith("[") and text.endswith("]")
        arguments[key] = [item.strip() for item in text[1:-1].split(",") if item.strip()] if is_list else text
    return arguments


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth not in (0, 1):
            break
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise ConfigError(f"--strategy-args: the brackets of {shorten(text)!r} do not match. Write a list as key=[a,b].")
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


Arguments = Annotated[dict[str, Any], BeforeValidator(parse_arguments)]
