"""Encoders whose logits depend on padding."""

from pipeline.modeling.family import Family


class PaddingDependent(Family):
    """Encoders that compute with the padding of a batch, whatever its attention mask says; none of them is taken.

    FNet mixes all positions; YOSO attends to padding as to tokens; ConvBERT, Nystromformer and CANINE convolve across the end
    of a text; MobileBERT's embedding of a token holds its neighbours', the padding's after the last.
    """

    model_types = ("canine", "convbert", "fnet", "mobilebert", "nystromformer", "yoso")
    unsupported = "padding changes its logits, so a text's prediction would depend on the texts that share its batch"
