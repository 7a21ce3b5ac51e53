"""Megatron-BERT."""

from pipeline.modeling.family import Family


class MegatronBert(Family):
    """Megatron-BERT (Shoeybi et al. 2019, arXiv:1909.08053): BERT with norms before blocks, and one above the top layer."""

    model_types = ("megatron-bert",)
    base_prefix = "bert"
    examples = ("nvidia/megatron-bert-uncased-345m",)
    final_norm = "encoder.ln"
    layers_return_tuples = True
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob")
