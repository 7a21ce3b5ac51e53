"""Nomic BERT."""

from typing import Any

from pipeline.modeling.families.gte import Gte

_FIRST_NAMES = {
    "n_layer": "num_hidden_layers",
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
}
"""How the model's first code named its sizes, and what transformers reads."""


class NomicBert(Gte):
    """Nomic BERT (Nussbaum et al. 2024, arXiv:2402.01613), built like GTE; its linear layers have no biases, its norms have.

    Its first code named the sizes as GPT-2 does. transformers reads none of these names and takes its defaults, which are the
    published sizes.
    """

    model_types = ("nomic_bert",)
    base_prefix = "nomic_bert"
    examples = ("nomic-ai/nomic-embed-text-v1.5",)

    def why_unsupported(self, config: Any) -> str | None:
        """Layers of experts, which transformers does not compute, and sizes under names that it does not read."""
        if experts := getattr(config, "moe_every_n_layers", 0):
            return f"moe_every_n_layers={experts} in config.json is not supported, layers of experts are not computed"
        for first, name in _FIRST_NAMES.items():
            size = getattr(config, first, None)
            if size is not None and size != getattr(config, name):
                return f"{first}={size} in config.json is not read by transformers; write {name}={size} there"
        return None
