"""Sets of values that a search may take for one hyperparameter: choices, whole numbers, and rates on a logarithmic scale."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.errors import ConfigError, shorten, unknown

_LARGEST = 2**53  # whole numbers beyond are not kept as they are in records of searches, which hold floating-point numbers
_DIGITS = 3  # significant ones of a drawn rate: it can be typed, and stands the same in every record


class Range(Protocol):
    """Values of one hyperparameter."""

    def values(self) -> Sequence[Any] | None:
        """All of them in order, None where they cannot be counted."""

    def probes(self) -> tuple[Any, ...]:
        """Values by which a mistake in the range shows before anything is trained."""

    def draw(self, generator: random.Random) -> Any:
        """One of them at random."""

    def describe(self) -> object:
        """What a recipe would say; ready for JSON."""


@dataclass(frozen=True)
class Choices:
    """Any of some values."""

    options: tuple[Any, ...]

    def values(self) -> tuple[Any, ...]:
        """As they were given."""
        return self.options

    def probes(self) -> tuple[Any, ...]:
        """Every value."""
        return self.options

    def draw(self, generator: random.Random) -> Any:
        """Each with the same probability."""
        return generator.choice(self.options)

    def describe(self) -> object:
        """A list."""
        return list(self.options)


@dataclass(frozen=True)
class Integers:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def values(self) -> Sequence[int]:
        """In ascending order; there may be very many, so they are no tuple."""
        return range(self.low, self.high + 1)

    def probes(self) -> tuple[int, ...]:
        """The ends."""
        return self.low, self.high

    def draw(self, generator: random.Random) -> int:
        """Each with the same probability."""
        return generator.randint(self.low, self.high)

    def describe(self) -> object:
        """`{integers: [low, high]}`."""
        return {"integers": [self.low, self.high]}


@dataclass(frozen=True)
class LogUniform:
    """Numbers from `low` to `high`, every order of magnitude as likely as any other."""

    low: float
    high: float

    def values(self) -> None:
        """They cannot be counted."""
        return

    def probes(self) -> tuple[float, ...]:
        """The ends."""
        return self.low, self.high

    def draw(self, generator: random.Random) -> float:
        """Rounded to three significant digits, within the ends."""
        return self.round(math.exp(generator.uniform(math.log(self.low), math.log(self.high))))

    def round(self, value: float) -> float:
        """The value to three significant digits, within the ends."""
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def describe(self) -> object:
        """`{log_uniform: [low, high]}`."""
        return {"log_uniform": [self.low, self.high]}


def find_end(search_range: Range, value: Any) -> str:
    """`lowest` or `highest` where a value is at an end of its range, so that one further out may do better; else empty.

    Of a logarithmic scale that is the outermost tenth; of choices the outer one, if they are three fractions or more. Whole
    numbers often have an end by nature (layers), as zero has, so they count for none.
    """
    if isinstance(search_range, LogUniform):
        low, high = search_range.low, search_range.high
        reach = (high / low) ** 0.1
    elif isinstance(search_range, Choices) and len(search_range.options) >= 3 and _are_fractions(search_range.options):
        low, high, reach = min(search_range.options), max(search_range.options), 1.0
    else:
        return ""
    if low == high or value == 0:
        return ""
    return "lowest" if value <= low * reach else "highest" if value >= high / reach else ""


def _are_fractions(options: tuple[Any, ...]) -> bool:
    return all(isinstance(option, float) for option in options)


def parse_range(name: str, given: object) -> Range:
    """The range that a recipe says: a list of values, `{integers: [low, high]}` or `{log_uniform: [low, high]}`.

    Raises:
        ConfigError: It is none of these, or empty.
    """
    if isinstance(given, list):
        values = tuple(map(_typed, given))
        if not values:
            raise ConfigError(f"space: {name!r} holds no value. Give some, or leave it out.")
        if len({repr(value) for value in values}) < len(values):
            raise ConfigError(f"space: {name!r} holds a value twice: {shorten(repr(given))}.")
        if not all(map(_is_plain, values)):
            raise ConfigError(f"space: {name!r}: {shorten(repr(given))} holds what is no number, text or list, such as a date.")
        return Choices(values)
    if isinstance(given, Mapping) and len(given) == 1:
        kind, ends = next(iter(given.items()))
        if kind not in _KINDS:
            raise ConfigError(f"space: {name!r}: " + unknown("kind of range", str(kind), _KINDS))
        return _KINDS[kind](name, ends)
    raise ConfigError(
        f"space: {name!r} must hold a list of values, {{integers: [low, high]}} or {{log_uniform: [low, high]}}, "
        f"not {shorten(repr(given))}."
    )


def _integers(name: str, given: object) -> Range:
    low, high = _ends(name, given)
    if low != int(low) or high != int(high):
        raise ConfigError(f"space: {name!r}: integers: {shorten(repr(given))} are not whole numbers.")
    return Integers(int(low), int(high))


def _log_uniform(name: str, given: object) -> Range:
    low, high = _ends(name, given)
    if low <= 0:
        raise ConfigError(f"space: {name!r}: log_uniform: {shorten(repr(given))} must begin above 0.")
    return LogUniform(low, high)


_KINDS: Mapping[str, Callable[[str, object], Range]] = {"integers": _integers, "log_uniform": _log_uniform}


def _ends(name: str, given: object) -> tuple[float, float]:
    values = [_typed(value) for value in given] if isinstance(given, list) else []
    if len(values) != 2 or not all(map(_is_number, values)) or values[0] > values[1]:
        raise ConfigError(
            f"space: {name!r}: give [low, high], two numbers in ascending order, whole ones up to 2^53, "
            f"not {shorten(repr(given))}."
        )
    return values[0], values[1]


def _is_number(value: object) -> bool:
    """Whether it is one that can be computed with: `math.isfinite` raises an error of a whole number that no float can hold."""
    return abs(value) <= _LARGEST if isinstance(value, int) else isinstance(value, float) and math.isfinite(value)


def _is_plain(value: object) -> bool:
    """Whether records can keep it: YAML knows dates, bytes and sets besides."""
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, str | int | float | None)


def _typed(value: object) -> Any:
    """A number where YAML left one as text: it reads `1e-5` as a string."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value
