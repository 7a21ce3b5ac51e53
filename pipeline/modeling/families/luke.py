"""LUKE."""

from pipeline.modeling.family import TAKES_NO_PAST, Family


class Luke(Family):
    """LUKE (Yamada et al. 2020, arXiv:2010.01057) and mLUKE, given words alone: what they have for entities is not used.

    With words alone it computes what RoBERTa does, and has a pooler.
    """

    model_types = ("luke",)
    base_prefix = "luke"
    examples = ("studio-ousia/luke-base",)
    unused = ("entity_embeddings", "w2e_query", "e2w_query", "e2e_query")
    layers_return_tuples = True
    counts_positions_from_padding = True
    refused = {"prefix": TAKES_NO_PAST}
