"""XLM-RoBERTa-XL."""

from pipeline.modeling.family import Family


class XLMRobertaXL(Family):
    """XLM-RoBERTa-XL and -XXL (Goyal et al. 2021, arXiv:2105.00572): norms before blocks, and one above the top layer."""

    model_types = ("xlm-roberta-xl",)
    base_prefix = "roberta"
    examples = ("facebook/xlm-roberta-xl",)
    pooler = "encoder.LayerNorm"
    pooler_is_norm = True
    logits = "classifier.out_proj"
    linear_head = False
    counts_positions_from_padding = True
