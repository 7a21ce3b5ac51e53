"""A top layer that computes the first token alone gives what the whole layer gives there."""

from contextlib import nullcontext

import pytest
import torch

from pipeline.modeling.family import find_family, list_model_types
from pipeline.modeling.loading import load_classifier
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.base import Target
from pipeline.training.acceleration.patches.first_token import FirstToken, first_token

LAID_OUT_AS_BERT = [family for family in list_model_types() if find_family(family).trims_last_layer]


def pair(tiny, family: str, adapt=lambda model: model):
    """The same model twice: one to be trimmed, and one as transformers has it."""

    def load():
        torch.manual_seed(0)
        loaded = load_classifier(find_model(str(tiny.folder(family))), ["a", "b"], dropout=0.0, seed=0)
        return adapt(loaded.model)

    return load(), load()


def padded():
    ids = torch.arange(8, 38).reshape(3, 10)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", LAID_OUT_AS_BERT)
def test_logits_and_gradients_are_those_of_the_whole_layer(tiny, family, attention) -> None:
    trimmed, whole = pair(tiny, family)
    encoder = find_model(str(tiny.folder(family))).encoder
    gradients = []
    for model in (trimmed, whole):
        model.set_attn_implementation(attention)
        with first_token(model, encoder) if model is trimmed else nullcontext():
            model(**padded(), labels=torch.tensor([0, 1, 1])).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None})
    with first_token(trimmed, encoder):
        assert torch.allclose(trimmed(**padded()).logits, whole(**padded()).logits, atol=1e-6)
        assert trimmed.base_model(**padded()).last_hidden_state.shape[1] == 1
    assert torch.equal(trimmed(**padded()).logits, whole(**padded()).logits)
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[1].items():
        assert torch.allclose(gradients[0][name], expected, atol=1e-6), name


@pytest.mark.parametrize("strategy", ["prefix", "lora"])
def test_it_holds_under_peft(tiny, strategy) -> None:
    context = tiny.context(tiny.folder(), tiny.config())
    trimmed, whole = pair(tiny, "bert", lambda model: create_strategy(strategy, {}).adapt(model, context))
    with torch.no_grad(), first_token(trimmed, context.encoder):
        assert torch.allclose(trimmed.eval()(**padded()).logits, whole.eval()(**padded()).logits, atol=1e-6)


def test_some_families_are_laid_out_as_bert() -> None:
    assert {"bert", "electra", "roberta"} <= set(LAID_OUT_AS_BERT) < set(list_model_types())


@pytest.mark.parametrize("family", [family for family in list_model_types() if family not in LAID_OUT_AS_BERT])
def test_a_family_that_does_not_declare_it_could_not(tiny, family) -> None:
    model, whole = pair(tiny, family)
    encoder = find_model(str(tiny.folder(family))).encoder
    try:
        with torch.no_grad(), first_token(model, encoder):
            logits = model.eval()(**padded()).logits
    except (AttributeError, IndexError, TypeError, RuntimeError):
        return
    same = logits.shape == whole.eval()(**padded()).logits.shape and torch.allclose(logits, whole(**padded()).logits, atol=1e-6)
    assert not same, f"declare trims_last_layer of {family}"


@pytest.mark.parametrize("family", [family for family in list_model_types() if family not in LAID_OUT_AS_BERT])
def test_it_does_not_apply_to_other_layouts(tiny, family) -> None:
    address = find_model(str(tiny.folder(family)))
    model = load_classifier(address, ["a", "b"], dropout=0.0, seed=0).model
    assert not FirstToken().applies(Target(model, address.encoder, torch.device("cpu")))
