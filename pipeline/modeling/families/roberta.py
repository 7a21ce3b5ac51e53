"""RoBERTa."""

from pipeline.modeling.family import Family


class Roberta(Family):
    """RoBERTa (Liu et al. 2019, arXiv:1907.11692) and what is built alike.

    That is XLM-RoBERTa (Conneau et al. 2020, arXiv:1911.02116) and CamemBERT (Martin et al. 2020, arXiv:1911.03894).
    Their classifier has a hidden layer of its own, and the checkpoint's pooler is not used.
    """

    model_types = ("roberta", "xlm-roberta", "camembert")
    base_prefix = "roberta"
    examples = ("roberta-base", "distilroberta-base", "xlm-roberta-base", "camembert-base")
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    trims_last_layer = True
    counts_positions_from_padding = True
