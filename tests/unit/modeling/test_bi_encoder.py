import numpy as np
import pytest
import torch
from plain_models import has_final_norm

from pipeline.data.columns import Problem
from pipeline.modeling.bi_encoder import POOLS
from pipeline.modeling.model_sources import find_model
from pipeline.objectives.base import create_objective

STATES = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [100.0, 100.0]], [[2.0, 5.0], [0.0, 1.0], [-8.0, 3.0]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2.0, -3.0], [-2.0, 3.0]]), ("cls", [[1.0, -4.0], [2.0, 5.0]]), ("max", [[3.0, -2.0], [2.0, 5.0]])],
)
def test_padding_is_left_out_of_a_vector(pooling, expected) -> None:
    assert POOLS[pooling](STATES, MASK).tolist() == expected


def batch(pairs: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(20, 150, (2 * pairs, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    mask[4, 2:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def bi_encoder(tiny, family: str, classes: tuple[str, ...] = (), pooling: str = "mean"):
    problem = Problem(classes, None if classes else (0.0, 1.0), True)
    address = find_model(str(tiny.folder(family)))
    return create_objective("bi_encoder", problem, pooling).load(address, 0.0, 3, {})


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_similarity_is_that_of_the_plain_encoder(tiny, family, pooling) -> None:
    from transformers import AutoModel

    plain = AutoModel.from_pretrained(tiny.folder(family), dtype=torch.float32).eval()
    model = bi_encoder(tiny, family, pooling=pooling).model.eval()
    inputs = batch()
    with torch.no_grad():
        found = model(**inputs)
        states = plain(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    vectors = (states * mask).sum(1) / mask.sum(1) if pooling == "mean" else states[:, 0]
    expected = torch.stack([(u @ v) / (u.norm() * v.norm()) for u, v in zip(vectors[:3], vectors[3:], strict=True)])
    torch.testing.assert_close(found.logits.squeeze(1), expected, atol=1e-5, rtol=1e-4)


def test_more_classes_are_read_off_both_vectors_and_their_difference(tiny) -> None:
    loaded = bi_encoder(tiny, "bert", ("a", "b", "c"))
    model, inputs = loaded.model.eval(), batch()
    assert {"classifier.weight", "classifier.bias"} <= loaded.newly_initialised
    with torch.no_grad():
        found = model(**inputs)
        states = model.bert(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        u, v = ((states * mask).sum(1) / mask.sum(1)).chunk(2)
        expected = torch.cat([u, v, (u - v).abs()], 1) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(found.logits, expected)


def test_the_classifier_is_drawn_from_its_seed_alone(tiny) -> None:
    torch.manual_seed(1)
    first = bi_encoder(tiny, "bert", ("a", "b", "c")).model.classifier.weight
    torch.manual_seed(2)
    assert torch.equal(first, bi_encoder(tiny, "bert", ("a", "b", "c")).model.classifier.weight)


def test_parameters_are_named_as_in_the_plain_model_and_the_pooler_is_gone(tiny, family) -> None:
    address = find_model(str(tiny.folder(family)))
    model = bi_encoder(tiny, family).model
    parts = {address.encoder.locate(name).part for name, _ in model.named_parameters()}
    assert {"embeddings", "layer"} <= parts
    assert parts <= {"embeddings", "shared", "layer", "unused"} | ({"pooler"} if has_final_norm(family) else set())


def test_every_parameter_gets_a_gradient(tiny, family) -> None:
    encoder = find_model(str(tiny.folder(family))).encoder
    model = bi_encoder(tiny, family).model
    model(**batch()).logits.square().sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert [name for name in without if encoder.locate(name).part != "unused"] == []


def test_the_order_of_the_texts_does_not_matter(tiny) -> None:
    model, inputs = bi_encoder(tiny, "bert").model.eval(), batch()
    turned = {name: torch.cat(tensor.chunk(2)[::-1]) for name, tensor in inputs.items()}
    with torch.no_grad():
        np.testing.assert_allclose(model(**inputs).logits, model(**turned).logits, atol=1e-6)
