"""RemBERT."""

from pipeline.modeling.family import Family


class RemBert(Family):
    """RemBERT (Chung et al. 2021, arXiv:2010.12821): BERT above embeddings that are narrower than the layers."""

    model_types = ("rembert",)
    base_prefix = "rembert"
    examples = ("google/rembert",)
    embeddings = ("embeddings", "encoder.embedding_hidden_mapping_in")
    layers_return_tuples = True
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
