"""Longformer."""

from pipeline.modeling.family import Family


class Longformer(Family):
    """Longformer (Beltagy et al. 2020, arXiv:2004.05150), which is not taken.

    Its first token attends to all others only where a mask says so. transformers makes that mask in its own classifier, from
    token ids; the encoder by itself goes without.
    """

    model_types = ("longformer",)
    unsupported = (
        "its own classifier alone lets the first token attend to all others, and needs token ids for it; any other head, and "
        "virtual tokens, would be computed without"
    )
