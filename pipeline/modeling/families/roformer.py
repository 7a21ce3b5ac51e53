"""RoFormer."""

from pipeline.modeling.family import TAKES_PAST_AS_DECODER, Family


class RoFormer(Family):
    """RoFormer (Su et al. 2021, arXiv:2104.09864), with rotary positions, whose sines are a table that never trains.

    Its classifier has a hidden layer of its own. Published tokenizers are for Chinese and need the package rjieba.
    """

    model_types = ("roformer",)
    base_prefix = "roformer"
    examples = ("junnyu/roformer_chinese_base",)
    embeddings = ("embeddings", "embeddings_project")
    unused = ("embed_positions",)
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    layers_return_tuples = True
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    refused = {"prefix": TAKES_PAST_AS_DECODER}
