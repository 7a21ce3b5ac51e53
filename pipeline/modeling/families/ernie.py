"""ERNIE."""

from pipeline.modeling.family import Family


class Ernie(Family):
    """ERNIE (Sun et al. 2019, arXiv:1904.09223), with 2.0 and 3.0: BERT, and embeddings of a task, here always the first."""

    model_types = ("ernie",)
    base_prefix = "ernie"
    examples = ("nghuyong/ernie-3.0-base-zh", "nghuyong/ernie-2.0-base-en")
    trims_last_layer = True
