"""The family's own head."""

from pipeline.modeling.head import Head


class Pooler(Head):
    """What the family's own classification model in transformers has on top.

    BERT's is the pretrained pooler and a linear layer; other families (`modeling/families`) have a dense layer in place of
    the pooler. Most read the first token.
    """
