"""What a head is: it says how it changes what is known of an encoder, and puts itself onto the model."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from pipeline.modeling.encoder import EncoderSpec
from pipeline.registry import HEADS

if TYPE_CHECKING:
    from torch import nn


class Head:
    """A classifier on top of an encoder. One that pools token states is a `PoolingHead` (`pooling`)."""

    @classmethod
    def head_name(cls) -> str:
        """The head's name: that of its module."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def summary(cls) -> str:
        """The first paragraph of the class's docstring, on one line."""
        return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())

    @classmethod
    def describe(cls, encoder: EncoderSpec) -> EncoderSpec:
        """The encoder as it is with this head, given the one with its family's own; by default the same."""
        return encoder

    @classmethod
    def put_on(
        cls, model: Any, encoder: EncoderSpec, classes: int, dropout: float, seed: int, newly_initialised: Collection[str]
    ) -> frozenset[str]:
        """Replace the head of the family's classification model by this one, drawn from `seed`; by default it stays.

        Args:
            model: As transformers made it.
            encoder: With the family's own head.
            newly_initialised: Names of the model's parameters that the checkpoint lacked.

        Returns:
            Such names afterwards.
        """
        return frozenset(newly_initialised)


def leave_out_virtual_tokens(model: nn.Module, count: int) -> None:
    """Tell the head of a model, before peft wraps it, that `count` virtual tokens come before every text."""
    model.virtual_tokens = count  # type: ignore[assignment]


def list_heads() -> list[str]:
    """Names of all heads, sorted."""
    return HEADS.names()


def check_head(name: str, option: str = "--head") -> None:
    """Make sure that there is a head of that name; imports none.

    Args:
        option: As the message shall name it.

    Raises:
        ConfigError: There is none.
    """
    HEADS.check(name, option)


def head_class(name: str) -> type[Head]:
    """The head's class.

    Raises:
        ConfigError: There is no head of that name.
        TypeError: The module does not define exactly one head; a mistake of whoever wrote it.
    """
    check_head(name)
    return HEADS.only_class(name, Head)


def with_head(encoder: EncoderSpec, name: str) -> EncoderSpec:
    """The encoder as it is with the head of that name, given the one with its family's own.

    Raises:
        ConfigError: There is no head of that name.
    """
    return head_class(name).describe(encoder)
