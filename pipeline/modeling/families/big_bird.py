"""BigBird."""

from typing import Any

from pipeline.modeling.family import TAKES_PAST_AS_DECODER, Family


class BigBird(Family):
    """BigBird (Zaheer et al. 2020, arXiv:2007.14062), up to the length at which its attention is full in any case.

    transformers computes longer batches by blocks, some drawn at random, until a shorter one turns that off for good, so a
    text's logits would depend on the texts before it. The classifier has a hidden layer of its own, and the checkpoint's
    pooler is not used.
    """

    model_types = ("big_bird",)
    base_prefix = "bert"
    examples = ("google/bigbird-roberta-base",)
    unused = ("pooler",)
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    settings = {"attention_type": "original_full", "use_cache": False}
    refused = {"prefix": TAKES_PAST_AS_DECODER}

    def max_positions(self, config: Any) -> int:
        """Blocks that are global, slide or are drawn, with as many again as a reserve; 704 tokens as published."""
        return min(super().max_positions(config), int((5 + 2 * config.num_random_blocks) * config.block_size))
