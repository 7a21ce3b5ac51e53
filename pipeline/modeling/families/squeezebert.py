"""SqueezeBERT."""

from pipeline.modeling.family import Family


class SqueezeBert(Family):
    """SqueezeBERT (Iandola et al. 2020, arXiv:2006.11316), which is not taken: it has no linear layers below its pooler.

    transformers also calls the layers' `forward` past their hooks, so frozen ones could not be computed once and kept.
    """

    model_types = ("squeezebert",)
    unsupported = "its layers are convolutions in groups, and adapters stand on linear layers"
