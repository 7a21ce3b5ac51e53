"""Data2VecText."""

from pipeline.modeling.family import Family


class Data2VecText(Family):
    """Data2Vec of texts (Baevski et al. 2022, arXiv:2202.03555), built as RoBERTa."""

    model_types = ("data2vec-text",)
    base_prefix = "data2vec_text"
    examples = ("facebook/data2vec-text-base",)
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    trims_last_layer = True
    counts_positions_from_padding = True
