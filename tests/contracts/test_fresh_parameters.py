"""What a checkpoint lacks is drawn anew, so it always trains and is always saved, in every family."""

import functools

import pytest
from pairs import FAMILIES, POOLED, REFUSED, record_of
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification

from pipeline.strategies.base import create_strategy
from pipeline.training.saved_model import write_model_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ARGUMENTS = {"lora": {"r": 2}, "partial": {"top_k": 1}}
CASES = [
    (family, name, pooler)
    for family in FAMILIES
    for name in ARGUMENTS
    for pooler in ((True, False) if family in POOLED else (True,))
    if (family, name) not in REFUSED
]


@pytest.fixture(scope="module")
def lacking(tiny):
    """Given a family, the parameters that its checkpoint lacks as transformers itself reports."""

    @functools.cache
    def lacking(family, pooler):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            tiny.folder(family, pooler), num_labels=2, output_loading_info=True
        )
        return set(info["missing_keys"]) & {name for name, _ in model.named_parameters()}

    return lacking


@pytest.mark.parametrize(("family", "name", "pooler"), CASES)
def test_what_the_checkpoint_lacks_always_trains_and_is_always_saved(tiny, tmp_path, lacking, family, name, pooler):
    built = tiny.build(create_strategy(name, ARGUMENTS[name]), tiny.folder(family, pooler), tiny.config())
    drawn, plan = lacking(family, pooler), built.parameters
    assert drawn, "at least the last layer of the classifier"
    assert drawn == set(built.context.newly_initialised)
    assert drawn <= {parameter.location.name for parameter in plan.trainable}
    write_model_folder(tmp_path / "saved", built, record_of(tiny, built, tiny.config()))
    with safe_open(tmp_path / "saved" / "delta.safetensors", "pt") as delta:
        saved = set(delta.keys())
    assert drawn <= {parameter.location.name for parameter in plan.parameters if parameter.name in saved}
