"""What an acceleration is, how one is switched off, and how those that are on are put on a model and taken off again."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.errors import ConfigError, shorten
from pipeline.modeling.split_model import plain_model
from pipeline.registry import ACCELERATIONS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.modeling.encoder import EncoderSpec
    from pipeline.strategies.parameter_plan import ParameterPlan
    from pipeline.training.plan import FitPlan

AUTO, OFF = "auto", "off"

_COUNTING = threading.Lock()
_BLOCKS = "_blocks_of_replaced_forward"


@dataclass(frozen=True)
class Target:
    """What is accelerated: a model on a device, and its training if it trains."""

    model: nn.Module
    """Plain, or wrapped by peft."""
    encoder: EncoderSpec
    device: torch.device
    plan: FitPlan | None = None
    """None where the model only predicts."""


class Acceleration:
    """One way to do less for the same result. It lives in a module of its own in `patches/`; the module's name is its switch.

    What one patches no other patches, so their order does not matter.
    """

    in_inference: ClassVar[bool] = False
    """Whether a model that only predicts has it, too; several threads may then be in its block at once."""

    def applies(self, target: Target) -> bool:
        """Whether it can save anything on this device and for this model; asked before `patch`."""
        return True

    def patch(self, target: Target) -> AbstractContextManager[ParameterPlan | None]:
        """Patch the model, or torch, for as long as the block lasts, and undo it afterwards, also after an error.

        Yields:
            The training's parameters, where their shapes are others within the block; else None.
        """
        raise NotImplementedError


def check_acceleration(chosen: Sequence[str], option: str = "--acceleration") -> None:
    """Make sure that the value of `--acceleration` is `auto`, `off`, or names that are known; imports none.

    Args:
        option: As the message shall name it.

    Raises:
        ConfigError: It is not; all mistakes together.
    """
    if tuple(chosen) in ((AUTO,), (OFF,)):
        return
    if not chosen or {AUTO, OFF} & set(chosen):
        known = ", ".join(ACCELERATIONS.names())
        raise ConfigError(
            f"{option}: got {shorten(repr(','.join(chosen)))}. Give auto, off, or names separated by commas: {known}."
        )
    messages: list[str] = []
    for name in chosen:
        try:
            ACCELERATIONS.check(name, option)
        except ConfigError as error:
            messages += error.messages
    if messages:
        raise ConfigError(*messages)


@functools.cache
def find_accelerations(chosen: tuple[str, ...]) -> Mapping[str, Acceleration]:
    """Name -> acceleration of what `--acceleration` switches on, in alphabetical order.

    Raises:
        ConfigError: There is none of a name.
    """
    check_acceleration(chosen)
    names = [] if chosen == (OFF,) else ACCELERATIONS.names() if chosen == (AUTO,) else sorted(set(chosen))
    return {name: ACCELERATIONS.only_class(name, Acceleration)() for name in names}


@contextlib.contextmanager
def accelerated(plan: FitPlan, device: torch.device) -> Iterator[FitPlan]:
    """Within the block a training has every acceleration that is switched on and applies.

    Yields:
        The plan of the training within the block: with the names of these accelerations, and with the parameters as they are.
    """
    with contextlib.ExitStack() as patches:
        for name, acceleration in find_accelerations(plan.config.acceleration).items():
            target = Target(plan.model, plan.encoder, device, plan)
            if acceleration.applies(target):
                parameters = patches.enter_context(acceleration.patch(target)) or plan.parameters
                plan = replace(plan, parameters=parameters, accelerations=plan.accelerations | {name})
        yield plan


@contextlib.contextmanager
def accelerated_inference(
    model: nn.Module, encoder: EncoderSpec, device: torch.device, chosen: tuple[str, ...] = (AUTO,)
) -> Iterator[None]:
    """Within the block a model that only predicts has the accelerations of inference, of those that are switched on."""
    target = Target(model, encoder, device)
    with contextlib.ExitStack() as patches:
        for acceleration in find_accelerations(chosen).values():
            if acceleration.in_inference and acceleration.applies(target):
                patches.enter_context(acceleration.patch(target))
        yield


@contextlib.contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within the block each module computes by the function given for it, which takes the module first.

    A served model predicts in several threads at once: the last that leaves such a block puts the class's own forward back.
    """
    with _COUNTING:
        for module, forward in forwards.items():
            vars(module)[_BLOCKS] = vars(module).get(_BLOCKS, 0) + 1
            module.forward = functools.partial(forward, module)
    try:
        yield
    finally:
        with _COUNTING:
            for module in forwards:
                vars(module)[_BLOCKS] -= 1
                if not vars(module)[_BLOCKS]:
                    del vars(module)[_BLOCKS], vars(module)["forward"]


@contextlib.contextmanager
def replaced_attention(
    model: nn.Module, name: str, attend: Callable[..., Any], make_mask: Callable[..., Any]
) -> Iterator[None]:
    """Within the block `model` attends by `attend`, under masks of `make_mask`, if it attends by `sdpa` otherwise.

    The last of several threads that leaves such a block puts the model's own attention back, as with `replaced_forwards`.

    Args:
        name: What transformers shall know the two by.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    plain: Any = plain_model(model)
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, make_mask)
    key = f"_blocks_of_{name}"
    with _COUNTING:
        before, blocks = vars(plain).get(key, (plain.config._attn_implementation, 0))
        vars(plain)[key] = before, blocks + 1
        if before == "sdpa" and not blocks:
            plain.set_attn_implementation(name)
    try:
        yield
    finally:
        with _COUNTING:
            before, blocks = vars(plain).pop(key)
            if blocks > 1:
                vars(plain)[key] = before, blocks - 1
            else:
                plain.set_attn_implementation(before)
