"""DistilBERT."""

from pipeline.modeling.family import TAKES_NO_PAST, Family


class DistilBert(Family):
    """DistilBERT (Sanh et al. 2019, arXiv:1910.01108). Its classifier has a hidden layer of its own."""

    model_types = ("distilbert",)
    base_prefix = "distilbert"
    examples = ("distilbert-base-uncased",)
    layers = "transformer.layer"
    pooler = None
    head = ("pre_classifier", "classifier")
    linear_head = False
    linear = ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2")
    attention = ("attention", "sa_layer_norm")
    query_value = ("q_lin", "v_lin")
    key_value = ("k_lin", "v_lin")
    attention_output = "attention.out_lin"
    feed_forward_output = "ffn.lin2"
    dropouts = ("dropout", "attention_dropout", "seq_classif_dropout")
    intermediate_size = "hidden_dim"
    refused = {"prefix": TAKES_NO_PAST}
