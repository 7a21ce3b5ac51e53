"""RoBERTa-PreLayerNorm."""

from pipeline.modeling.family import Family


class RobertaPreLayerNorm(Family):
    """RoBERTa with norms before blocks (fairseq, Ott et al. 2019, arXiv:1904.01038), and one above the top layer."""

    model_types = ("roberta-prelayernorm",)
    base_prefix = "roberta_prelayernorm"
    examples = ("andreasmadsen/efficient_mlm_m0.40",)
    pooler = "LayerNorm"
    pooler_is_norm = True
    logits = "classifier.out_proj"
    linear_head = False
    counts_positions_from_padding = True
