"""What `--fair` makes equal: the layers that adapters are put on, and how many parameters train."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import config as configs
from pipeline.errors import ConfigError, InputError
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.configure import replace_options
from pipeline.strategies.adapters import LinearAdapter
from pipeline.strategies.base import Strategy, create_strategy
from pipeline.strategies.parameter_plan import parameter_names, plan_parameters
from pipeline.training.setup import EncoderInputs, find_inputs

REFERENCE = "lora"
"""Whose layers and number of parameters the others get: the study's own, or as it is by default."""
TOLERANCE = 0.1
"""By how much numbers of parameters may differ, as a share of the reference's."""


@dataclass(frozen=True)
class Fairness:
    """What was made equal."""

    plans: list[configs.TrainConfig]
    """With what was chosen among their arguments, which no search changes."""
    notes: tuple[str, ...] = ()
    """What was chosen, and what was left as it is; a sentence each."""
    doubts: tuple[str, ...] = ()
    """What could not be made equal; a sentence each."""


def make_fair(plans: Sequence[configs.TrainConfig], fair: str) -> Fairness:
    """The trainings with arguments that make them equal in what `--fair` says.

    Arguments that a recipe gives an entry stay. A training that cannot be found is left as it is, for others to refuse.
    """
    notes: list[str] = []
    doubts: list[str] = []
    settled = list(plans)
    if fair in ("targets", "both"):
        settled = _share_targets(settled, notes)
    if fair in ("parameters", "both"):
        settled = _share_number(settled, notes, doubts)
    return Fairness(settled, tuple(notes), tuple(dict.fromkeys(doubts)))


def _share_targets(plans: Sequence[configs.TrainConfig], notes: list[str]) -> list[configs.TrainConfig]:
    reference = _reference(plans).strategy_args["targets"]
    changed, kept, left = dict[str, None](), dict[str, None](), dict[str, None]()
    settled = []
    for plan in plans:
        if not isinstance(create_strategy(plan.strategy, plan.strategy_args), LinearAdapter):
            left[plan.title] = None
        elif _is_given(plan, "targets"):
            kept[f"{plan.title} ({','.join(plan.strategy_args['targets'])}, by the recipe)"] = None
        else:
            plan = _with_arguments(plan, {"targets": reference})
            changed[plan.title] = None
        settled.append(plan)
    notes.append(
        f"--fair: {_names(changed)} adapt {','.join(reference)}, as lora does." + (f" Others: {_names(kept)}." if kept else "")
    )
    if left:
        notes.append(f"--fair leaves {_names(left)} as they are: they put no adapters on chosen layers.")
    return settled


def _share_number(plans: Sequence[configs.TrainConfig], notes: list[str], doubts: list[str]) -> list[configs.TrainConfig]:
    settled, left, chosen = [], dict[str, None](), list[str]()
    wanted: dict[str, int] = {}
    for plan in plans:
        sizes: Sequence[int] = []
        try:
            inputs = find_inputs(plan)
            strategy = inputs.strategy
            if isinstance(inputs, EncoderInputs):
                if plan.model not in wanted:
                    wanted[plan.model] = _count_reference([other for other in plans if other.model == plan.model])
                sizes = _fitting_sizes(inputs)
            if isinstance(inputs, EncoderInputs) and isinstance(strategy, Strategy) and sizes:
                fixed = plan.strategy == REFERENCE or any(_is_given(plan, name) for name in strategy.sized(sizes[0]))
                sized = plan if fixed else _nearest_plan(plan, sizes, wanted[plan.model], inputs)
                count = count_trainable(inputs, _strategy(sized))
        except InputError:
            settled.append(plan)
            continue
        if not isinstance(strategy, Strategy) or not sizes:
            left[plan.title] = None
            settled.append(plan)
            continue
        names = strategy.sized(sizes[0])
        if plan.strategy == REFERENCE:
            sized = _with_arguments(plan, {name: plan.strategy_args[name] for name in names})
        settled.append(sized)
        name = f"{sized.title} {','.join(f'{key}={sized.strategy_args[key]}' for key in names)}"
        chosen.append(f"{name} {count:,}")
        off = count / wanted[plan.model] - 1
        if abs(off) > TOLERANCE:
            nearest = "as the recipe has it" if fixed else "the nearest that it can"
            doubts.append(
                f"--fair: {name} trains {count:,} parameters, {off:+.0%} of lora's {wanted[plan.model]:,}, {nearest}."
            )
    numbers = " and ".join(f"{number:,}" for number in dict.fromkeys(wanted.values()))
    if chosen:
        notes.append(f"--fair: as many parameters train as of lora, {numbers}: {'; '.join(dict.fromkeys(chosen))}.")
    if left:
        notes.append(f"--fair leaves {_names(left)} as they are: none of their arguments sets how many parameters train.")
    return settled


def _count_reference(plans: Sequence[configs.TrainConfig]) -> int:
    """How many parameters LoRA trains, with the head of its own row.

    Raises:
        InputError: It cannot be trained so.
    """
    reference = _reference(plans)
    inputs = find_inputs(reference)
    assert isinstance(inputs, EncoderInputs)
    return count_trainable(inputs, _strategy(reference))


def _fitting_sizes(inputs: EncoderInputs) -> Sequence[int]:
    """Those that the strategy can have on this model; none where no argument sets how many parameters train.

    A strategy guesses them by the width of the encoder, and some layers may be of another.

    Raises:
        ConfigError: The strategy cannot work on the model.
    """
    strategy, context = inputs.strategy, inputs.context()
    sizes = strategy.sizes(context) if isinstance(strategy, Strategy) else []
    if not isinstance(strategy, Strategy) or not sizes:
        return []
    shapes = set[tuple[int, int]]()
    if isinstance(strategy, LinearAdapter):
        shapes = set(strategy.target_shapes(_without_values(inputs).model, context.encoder).values())

    def is_too_large(size: int) -> bool:
        sized: Strategy = dataclasses.replace(strategy, **strategy.sized(size))  # type: ignore[type-var]
        try:
            sized.checked_phases(context)
        except ConfigError:
            return True
        return isinstance(sized, LinearAdapter) and any(sized.misfit(*shape) for shape in shapes)

    if len(sizes) > _MANY:  # amounts, of which those that do not fit are the largest; divisors are never so many
        return sizes[: bisect.bisect_left(sizes, True, key=is_too_large)]
    return [size for size in sizes if not is_too_large(size)]


_MANY = 5000
"""More sizes are not looked at one by one: there may be as many as a weight has entries."""


def _without_values(inputs: EncoderInputs) -> Any:
    """A training's model, of which no weight takes memory, and the names of what is not in its checkpoint."""
    return inputs.objective.load(inputs.address, inputs.context().dropout, 0, {"device_map": "meta"})


def count_trainable(inputs: EncoderInputs, strategy: Strategy) -> int:
    """How many parameters a strategy would train of a training's model, by its config and names of weights alone.

    Raises:
        ConfigError: It cannot work on the model.
    """
    import torch

    context, loaded = inputs.context(), _without_values(inputs)
    context = dataclasses.replace(context, newly_initialised=loaded.newly_initialised)
    phases, own_names = strategy.checked_phases(context), parameter_names(loaded.model)
    with torch.device("meta"):
        model = strategy.adapt(loaded.model, context)
    return plan_parameters(model, context.encoder, phases, own_names, loaded.newly_initialised).trainable_count


def _nearest_plan(plan: configs.TrainConfig, sizes: Sequence[int], wanted: int, inputs: EncoderInputs) -> configs.TrainConfig:
    """The training with the size whose number of parameters is nearest to what is wanted."""
    strategy = _strategy(plan)

    def count(size: int) -> int:
        return count_trainable(inputs, dataclasses.replace(strategy, **strategy.sized(size)))  # type: ignore[type-var]

    return _with_arguments(plan, strategy.sized(_nearest(sizes, wanted, count)))


def _nearest(sizes: Sequence[int], wanted: int, count: Callable[[int], int]) -> int:
    """The size whose count is nearest to what is wanted, relative to that; counts rise with the place.

    Guesses lie on the line through the ends, or half-way where that has not helped.
    """
    ends = {place: count(sizes[place]) for place in (0, len(sizes) - 1)}
    low, high = 0, len(sizes) - 1
    halves = False
    while high - low > 1 and ends[low] < wanted < ends[high]:
        share = 0.5 if halves else (wanted - ends[low]) / (ends[high] - ends[low])
        place = min(max(round(low + share * (high - low)), low + 1), high - 1)
        ends[place] = count(sizes[place])
        low, high = (place, high) if ends[place] < wanted else (low, place)
        halves = not halves
    return sizes[min((low, high), key=lambda place: abs(ends[place] - wanted))]


def _reference(plans: Sequence[configs.TrainConfig]) -> configs.TrainConfig:
    """Of the study's first entry with LoRA, or of LoRA as it is by default."""
    own = next((plan for plan in plans if plan.strategy == REFERENCE), None)
    alike = next((plan for plan in plans if isinstance(create_strategy(plan.strategy, {}), LinearAdapter)), plans[0])
    return own or replace_options(dataclasses.replace(alike, strategy=REFERENCE, strategy_args={}), {})


def _strategy(plan: configs.TrainConfig) -> Strategy:
    strategy = create_strategy(plan.strategy, plan.strategy_args)
    assert isinstance(strategy, Strategy)
    return strategy


def _is_given(plan: configs.TrainConfig, argument: str) -> bool:
    return argument in load_recipe(plan.recipe).arguments_for(plan.title)


def _with_arguments(plan: configs.TrainConfig, arguments: dict[str, object]) -> configs.TrainConfig:
    """With arguments that no search changes, as if they were typed."""
    return dataclasses.replace(replace_options(plan, arguments), explicit=tuple(dict.fromkeys((*plan.explicit, *arguments))))


def _names(titles: dict[str, None]) -> str:
    return ", ".join(titles) or "none"
