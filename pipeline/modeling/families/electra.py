"""ELECTRA."""

from pipeline.modeling.family import Family


class Electra(Family):
    """ELECTRA (Clark et al. 2020, arXiv:2003.10555). Its classifier has a hidden layer of its own."""

    model_types = ("electra",)
    base_prefix = "electra"
    examples = ("google/electra-small-discriminator",)
    embeddings = ("embeddings", "embeddings_project")
    pooler = None
    logits = "classifier.out_proj"
    linear_head = False
    trims_last_layer = True
