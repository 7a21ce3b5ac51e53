"""Nomic BERT."""

from typing import Any

from pipeline.modeling.families.gte import Gte

_FIRST_NAMES = {
    "n_layer": "num_hidden_layers",
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
"""How the model's first code named its sizes, and what transformers reads."""
_GATES = {"swiglu": "silu", "geglu": "gelu", "glu": "sigmoid"}
"""How it named feed-forward blocks with a gate, and the gate's function as transformers calls it; others had no gate."""
_FIXED = {"rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "prenorm": False}
"""What it could compute otherwise, and transformers cannot."""


class NomicBert(Gte):
    """Nomic BERT (Nussbaum et al. 2024, arXiv:2402.01613), built like GTE; its linear layers have no biases, its norms have.

    Its first code named the sizes as GPT-2 does, and most of what is computed in its own way. transformers reads none of these
    names and takes its defaults, which are the published model's.
    """

    model_types = ("nomic_bert",)
    base_prefix = "nomic_bert"
    examples = ("nomic-ai/nomic-embed-text-v1.5",)

    def why_unsupported(self, config: Any) -> str | None:
        """Layers of experts, which transformers does not compute, and what stands under names that it does not read."""
        if experts := getattr(config, "moe_every_n_layers", 0):
            return f"moe_every_n_layers={experts} in config.json is not supported, layers of experts are not computed"
        given = {name: value for name, value in vars(config).items() if value is not None}
        for first, name in _FIRST_NAMES.items():
            if first in given and given[first] != getattr(config, name):
                return _not_read(first, given[first], f"{name}={given[first]}")
        if (base := given.get("rotary_emb_base")) not in (None, (config.rope_parameters or {}).get("rope_theta")):
            return _not_read("rotary_emb_base", base, f'"rope_parameters": {{"rope_type": "default", "rope_theta": {base}}}')
        if kind := given.get("activation_function"):
            if (gate := _GATES.get(str(kind))) is None:
                return f"activation_function={kind} in config.json is not supported, only blocks with a gate are computed"
            if gate != config.hidden_act:
                return _not_read("activation_function", kind, f"hidden_act={gate}")
        for first, value in _FIXED.items():
            if given.get(first, value) != value:
                return f"{first}={given[first]} in config.json is not supported, {value} is computed"
        return None


def _not_read(first: str, value: Any, way_out: str) -> str:
    return f"{first}={value} in config.json is not read by transformers; write {way_out} there"
