"""Token embeddings while they train: only the rows of tokens that occur.

A row whose token stands in no text has a gradient of zero for ever, so that AdamW's moments stay zero and all that it does to
the row is weight decay. Yet the gradient, both moments, clipping and the step go over the whole table: 30,522 rows for some
thousand tokens. Here the table is a smaller one while it trains, and whole again afterwards. Not so with Adafactor, which
clips a step by its mean square over the whole table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.modeling.split_model import plain_model
from pipeline.strategies.parameter_plan import ParameterPlan
from pipeline.training.acceleration.base import Acceleration, Target

if TYPE_CHECKING:
    import torch
    from torch import nn


class ReducedEmbeddings(Acceleration):
    """A table of token embeddings that has the rows in use."""

    def applies(self, target: Target) -> bool:
        """In training by AdamW."""
        return target.plan is not None and target.plan.config.optimizer == "adamw"

    def patch(self, target: Target) -> contextlib.AbstractContextManager[ParameterPlan]:
        """The model's table, if it ever trains."""
        plan = target.plan
        assert plan is not None
        return used_vocabulary(plan.model, plan.parameters, plan.tables, plan.pad_id)


@contextlib.contextmanager
def used_vocabulary(
    model: nn.Module, parameters: ParameterPlan, tables: Sequence[TokenTable | TextPairs], pad_id: int
) -> Iterator[ParameterPlan]:
    """Within the block the token embeddings of `model`, if they ever train, hold the rows of the tokens in `tables` alone.

    The model takes the same token ids as ever. Afterwards the table is whole: what trained stands in its rows, and the others
    have decayed as they would have, up to rounding (not at all without weight decay). How far is read off the witness, one more
    row that no token has: the optimizer decays it like the rows that are away, in every phase, at every rate, and not in
    steps that fp16 skips; checkpoints hold it like any row.

    Yields:
        The plan with the parameter's shape in the block, which is that of checkpoints written there.
    """
    import torch

    name, embedding = _trained_table(model, parameters)
    used = _tokens_of(tables, pad_id)
    if embedding is None or len(used) + 1 >= len(embedding.weight):
        yield parameters
        return
    weight, padding_idx = embedding.weight, embedding.padding_idx
    whole = weight.data
    rows = torch.from_numpy(used)
    witness = _witness(whole)
    # Of a token that is in no table there is no row: looking it up is an error.
    places = np.full(len(whole), len(used) + 1)
    places[used] = np.arange(len(used))
    positions = torch.from_numpy(places)

    def look_up(_module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        nonlocal positions
        positions = positions.to(given[0].device)
        return (positions[given[0]], *given[1:])

    hook = embedding.register_forward_pre_hook(look_up)
    weight.data = torch.cat([whole[rows], witness])
    # Where config.json names another one for padding than the tokenizer: its row is away, and no text looks it up.
    embedding.padding_idx = int(places[padding_idx]) if padding_idx in used else None
    smaller = tuple(
        replace(planned, shape=tuple(weight.shape)) if planned.name == name else planned for planned in parameters.parameters
    )
    try:
        yield replace(parameters, parameters=smaller)
    finally:
        hook.remove()
        embedding.padding_idx = padding_idx
        trained = weight.data.to(whole.device)
        decayed = float((trained[-1:].double() / witness.double()).mean())
        if decayed != 1:
            whole = whole * decayed  # in memory of its own: `take_from_file` says why
        whole[rows] = trained[:-1]
        weight.data = whole.to(weight.device)


def _trained_table(model: Any, parameters: ParameterPlan) -> tuple[str, Any]:
    """Name and module of the token embeddings, if they are a plain table that ever trains and nothing else uses; else None."""
    import torch

    plain: Any = plain_model(model)
    embedding = plain.get_input_embeddings()
    if type(embedding) is not torch.nn.Embedding:  # wrapped, by an adapter or a user's parametrization
        return "", None
    names = [name for name, other in model.named_parameters(remove_duplicate=False) if other is embedding.weight]
    trains = any(parameter.name == names[0] for parameter in parameters.trainable)
    return (names[0], embedding) if trains and len(names) == 1 else ("", None)


def _tokens_of(tables: Sequence[TokenTable | TextPairs], pad_id: int) -> Any:
    """Every token id that occurs, ascending."""
    return np.unique(np.concatenate([[pad_id], *(np.unique(table.ids) for table in tables)]).astype(np.int64))


def _witness(whole: torch.Tensor) -> torch.Tensor:
    """A row of many values, so that their rounding averages out: shape [1, hidden]."""
    import torch

    return torch.linspace(1, 2, whole.shape[1], dtype=whole.dtype, device=whole.device)[None]
