"""MPNet."""

from typing import Any

from pipeline.modeling.family import TAKES_NO_PAST, Family


class MPNet(Family):
    """MPNet (Song et al. 2020, arXiv:2004.09297). All its layers use one table of relative positions, beside absolute ones.

    The classifier has a hidden layer of its own, and the checkpoint's pooler is not used.
    """

    model_types = ("mpnet",)
    base_prefix = "mpnet"
    examples = ("sentence-transformers/all-mpnet-base-v2", "microsoft/mpnet-base")
    shared = ("encoder.relative_attention_bias",)
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    linear = ("q", "k", "v", "o", "dense")
    query_value = ("q", "v")
    key_value = ("k", "v")
    attention_output = "attention.attn.o"
    layers_return_tuples = True
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    counts_positions_from_padding = True
    refused = {"prefix": TAKES_NO_PAST}

    def why_unsupported(self, config: Any) -> str | None:
        """Another padding token: positions leave out the one of id 1, whatever the config says."""
        if config.pad_token_id == 1:
            return None
        return f"pad_token_id={config.pad_token_id} in config.json is not supported: its positions take 1 for padding"
