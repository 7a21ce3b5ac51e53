"""Layers that are computed a second time in the backward pass, so that their activations need not be kept.

Chen et al. 2016, arXiv:1604.06174, by transformers' own means: of a layer only what enters it stays. Random generators are put
back before, so dropout drops the same elements and the result is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.modeling.encoder import EncoderSpec
from pipeline.modeling.split_model import plain_model

if TYPE_CHECKING:
    from torch import nn

INSTEAD = "Leave --gradient-checkpointing out; --gradient-accumulation-steps saves memory, too."
"""What a user can do where it is refused."""


def check_gradient_checkpointing(encoder: EncoderSpec) -> None:
    """Hold that transformers' model can compute its layers anew; no weight is read.

    Raises:
        ConfigError: It cannot.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    model = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[CONFIG_MAPPING[encoder.model_type]]
    if not model.supports_gradient_checkpointing:
        raise ConfigError(
            f"--gradient-checkpointing true: --model {encoder.name} is a {model.__name__} of transformers, which does not "
            f"support it. {INSTEAD}"
        )


@contextlib.contextmanager
def recomputed_layers(model: nn.Module, encoder: EncoderSpec) -> Iterator[None]:
    """Within the block the layers of a model, plain or wrapped by peft, are computed anew in the backward pass.

    A top layer that an acceleration has trimmed to the first token is not: it keeps little.
    """
    inner: Any = plain_model(model).get_submodule(encoder.family.base_prefix)
    inner.activation_checkpointing_enable({"use_reentrant": False})
    inner.disable_input_require_grads()  # which the other kind alone needs: embeddings that do not train get no gradient
    had_cache = getattr(inner.config, "use_cache", False)
    if had_cache:  # of decoders, and a reason to warn
        inner.config.use_cache = False
    try:
        yield
    finally:
        inner.activation_checkpointing_disable()
        if had_cache:
            inner.config.use_cache = True
