"""An encoder that makes one vector of each text, and compares the two of a pair (Reimers and Gurevych 2019, arXiv:1908.10084).

Imports torch, so it is imported late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pool_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over tokens that are no padding."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def pool_cls(states: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
    """The first token's state."""
    return states[:, 0]


def pool_max(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The highest value of each component over tokens that are no padding."""
    return states.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(states.dtype).min).amax(dim=1)


POOLS: dict[str, Pool] = {"mean": pool_mean, "cls": pool_cls, "max": pool_max}
"""Token states, shape [texts, length, hidden], and mask, shape [texts, length], to vectors, shape [texts, hidden]."""


class BiEncoderModel(nn.Module):
    """One encoder for both texts of a pair.

    The first half of a batch's rows are the first texts of its pairs, the second half the second ones. The output is the
    cosine similarity of the two vectors u and v; or, of three classes and more, logits from a classifier of u, v and |u - v|.
    """

    is_gradient_checkpointing = False  # else peft lets the embeddings' output require a gradient

    def __init__(self, encoder: PreTrainedModel, attribute: str, pooling: str, classes: int = 0) -> None:
        """Put a head on an encoder.

        Args:
            attribute: Under which the encoder stands, so that parameters are named as in the model that it was taken from.
            classes: Classes of the classifier; 0 for cosine similarity. Its weights are drawn from torch's global generator.
        """
        super().__init__()
        self.config = encoder.config
        self._attribute = attribute
        self._pool = POOLS[pooling]
        setattr(self, attribute, encoder)
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = nn.Identity()  # BERT's and ALBERT's, which nothing here reads; LayoutLM would call None
        self.classifier: nn.Linear | None = None
        if classes:
            self.classifier = nn.Linear(3 * encoder.config.hidden_size, classes)
            nn.init.normal_(self.classifier.weight, std=getattr(encoder.config, "initializer_range", 0.02))
            nn.init.zeros_(self.classifier.bias)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def get_input_embeddings(self) -> nn.Module:
        """The table of token embeddings."""
        embeddings: nn.Module = getattr(self, self._attribute).get_input_embeddings()
        return embeddings

    def set_attn_implementation(self, name: str) -> None:
        """Choose the encoder's attention function by its name."""
        getattr(self, self._attribute).set_attn_implementation(name)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **given: Any,
    ) -> SequenceClassifierOutput:
        """Similarities, shape [pairs, 1], or logits, shape [pairs, classes]."""
        states = getattr(self, self._attribute)(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **{name: value for name, value in given.items() if value is not None},
        ).last_hidden_state.float()
        mask = torch.ones(states.shape[:2], device=states.device) if attention_mask is None else attention_mask
        # Keys that prefix tuning puts before the text have places in the mask, but no states.
        u, v = self._pool(states, mask[:, -states.shape[1] :]).chunk(2)
        if self.classifier is not None:
            logits = self.classifier(torch.cat([u, v, (u - v).abs()], dim=1))
        else:
            logits = nn.functional.cosine_similarity(u.float(), v.float()).unsqueeze(1)
        return SequenceClassifierOutput(logits=logits)
