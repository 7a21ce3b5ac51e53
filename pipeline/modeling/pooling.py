"""What heads share that make one vector of a text's token states and classify that vector by a linear layer."""

import functools
from collections.abc import Collection
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from pipeline.errors import PluginError
from pipeline.modeling.encoder import EncoderSpec
from pipeline.modeling.head import Head

_NAME = "classifier"  # peft trains and saves a module of that name as the head


class PoolingHead(nn.Module, Head):
    """A head that pools token states; `pool` is all that a subclass must write, and `__init__` if it has parameters.

    Weights of its linear layers are drawn from a normal distribution with the deviation that the encoder's config gives,
    their biases begin at zero; other parameters are as `__init__` leaves them.
    """

    reads_first_token: ClassVar[bool] = False
    """Whether `pool` is given the first position alone, of which the top layer then computes no more."""
    is_linear: ClassVar[bool] = False
    """Whether `pool` has no parameters, so that the linear layer is all that trains."""

    def __init__(self, hidden_size: int, classes: int, dropout: float) -> None:
        """Make the parameters.

        Args:
            hidden_size: Width of a token's state.
            dropout: Probability, as anywhere else in the model.
        """
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(hidden_size, classes)

    def pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One vector per text: [examples, length, hidden] -> [examples, hidden].

        Args:
            mask: 1 on the text's tokens and 0 on padding, in the type of the states; shape [examples, length].
        """
        raise NotImplementedError

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits; shape [examples, classes]."""
        logits: torch.Tensor = self.out_proj(self.dropout(self.pool(states, mask)))
        return logits

    @torch.no_grad()
    def _check_pool(self, hidden_size: int) -> None:
        """Try `pool` on two texts, before anything trains.

        Raises:
            PluginError: It does not make one vector of each, as wide as the linear layer takes.
        """
        length, wanted = 1 if self.reads_first_token else 3, [2, self.out_proj.in_features]
        pooled = self.eval().pool(torch.zeros(2, length, hidden_size), torch.ones(2, length))
        self.train()
        shape = list(pooled.shape) if isinstance(pooled, torch.Tensor) else type(pooled).__name__
        if shape != wanted:
            raise PluginError(
                f"{type(self).__module__}: pool of class {type(self).__name__} makes {shape} of states "
                f"{[2, length, hidden_size]}, and must make [examples, hidden], here {wanted}."
            )

    @classmethod
    def describe(cls, encoder: EncoderSpec) -> EncoderSpec:
        """Without the family's pooler, which nothing reads any more, unless that is a norm that every token passes."""
        return replace(
            encoder,
            head=cls.head_name(),
            head_modules=(_NAME,),
            linear_head=cls.is_linear,
            pooler=encoder.pooler if encoder.family.pooler_is_norm else None,
            reads_first_token=cls.reads_first_token,
            classifies_tokens=False,
        )

    @classmethod
    def put_on(
        cls, model: Any, encoder: EncoderSpec, classes: int, dropout: float, seed: int, newly_initialised: Collection[str]
    ) -> frozenset[str]:
        """Take away the family's head and its pooler, and let `model` compute its logits by this one."""
        for name in encoder.head_modules:
            delattr(model, name)
        if encoder.pooler and not encoder.family.pooler_is_norm:
            parent, _, name = encoder.pooler.rpartition(".")
            # Not None: LayoutLM calls its pooler whether there is one or not.
            setattr(model.get_submodule(parent), name, nn.Identity())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = cls(encoder.hidden_size, classes, dropout)
            head._check_pool(encoder.hidden_size)
            for module in head.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=model.config.initializer_range)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        setattr(model, _NAME, head.to(model.device))
        model.virtual_tokens = 0
        model.forward = functools.partial(_forward, model, cls.reads_first_token)
        left = {name for name, _ in model.named_parameters()}
        drawn = {f"{_NAME}.{name}" for name, _ in head.named_parameters()}
        return frozenset(newly_initialised) & left | drawn


def _forward(
    model: Any,
    reads_first_token: bool,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    past_key_values: Any = None,
    **further: Any,
) -> SequenceClassifierOutput:
    """What the family's own forward gives, with logits by the head of `model`.

    The text's tokens are the last positions of the states as of the mask: virtual tokens come before them in both (prompt
    and P-tuning), or in the mask alone (prefix tuning).
    """
    if past_key_values is not None:  # named above because peft, which gives them, looks for the name; not every family has it
        further["past_key_values"] = past_key_values
    further["return_dict"] = True
    encoded = model.base_model(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **further)
    states = encoded.last_hidden_state
    mask = states.new_ones(states.shape[:2]) if attention_mask is None else attention_mask.to(states.dtype)
    # Contiguous: of others torch orders the sums by whether weights require gradients, so a reloaded model would differ.
    if reads_first_token:
        states, mask = states[:, :1].contiguous(), mask[:, :1]
    else:
        text = mask.shape[1] - model.virtual_tokens
        states, mask = states[:, -text:].contiguous(), mask[:, -text:]
    logits = model.get_submodule(_NAME)(states, mask)
    loss = None if labels is None else _loss(model, logits, labels)
    return SequenceClassifierOutput(loss=loss, logits=logits)


def _loss(model: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """By the problem that the config names, as the family's own forward does it."""
    if model.config.problem_type == "regression":
        return nn.functional.mse_loss(logits.squeeze(-1), labels)
    return nn.functional.cross_entropy(logits, labels)
