"""BERT."""

from pipeline.modeling.family import Family


class Bert(Family):
    """BERT (Devlin et al. 2019, arXiv:1810.04805), multilingual BERT and MiniLM: one linear layer above a pooler classifies."""

    model_types = ("bert",)
    base_prefix = "bert"
    examples = ("bert-base-uncased", "bert-base-multilingual-cased", "MiniLM")
    trims_last_layer = True
