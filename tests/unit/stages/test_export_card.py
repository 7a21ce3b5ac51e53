"""What the card of an exported model says of its base."""

import pytest

from pipeline.modeling.model_sources import PACKAGED_ID
from pipeline.stages.exporting.format import Exportable
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
