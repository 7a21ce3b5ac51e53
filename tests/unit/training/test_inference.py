"""Predicting: in which batches, on a GPU, whose copies are replaced, and on a CPU."""

import numpy as np
import pytest
import torch

from pipeline.data.batching import LENGTH_MULTIPLE, Batch, TokenExamples, load_batch, padded_lengths
from pipeline.strategies.base import create_strategy
from pipeline.training import inference
from pipeline.training.inference import predict_outputs

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """Copies to a GPU stay where they are."""
    monkeypatch.setattr(Batch, "to", lambda batch, device: batch)


@pytest.fixture
def model(tiny):
    return tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config(dropout=0.0)).model


@pytest.fixture
def seen(monkeypatch):
    """Shapes of the batches that are predicted."""
    shapes = []

    def load(examples, indices, device):
        batch = load_batch(examples, indices, device)
        shapes.append(tuple(batch.inputs["attention_mask"].shape))
        return batch

    monkeypatch.setattr(inference, "load_batch", load)
    return shapes


def test_a_gpu_is_given_few_shapes_and_predicts_the_same(tiny, gpu, model, seen):
    examples = TokenExamples(tiny.table(120), 0)
    expected = predict_outputs(model, examples, CPU, max_tokens=64)
    on_cpu, seen[:] = set(seen), []
    found = predict_outputs(model, examples, GPU, max_tokens=64)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert {length % LENGTH_MULTIPLE == 0 or length == examples.longest for _, length in seen} == {True}
    assert all(rows * length <= 64 for rows, length in seen), "the limit is of tokens after padding"
    assert len(set(seen)) <= 4 < len(on_cpu)


def test_a_batch_is_never_longer_than_the_longest_text(tiny, gpu):
    examples = TokenExamples(tiny.table(40), 0)
    assert examples.longest == examples.lengths.max() == 14
    last = np.argsort(examples.lengths)[-2:]
    assert load_batch(examples, last, GPU).inputs["input_ids"].shape == (2, 14)
    short = np.flatnonzero(examples.lengths == 7)[:1]
    assert load_batch(examples, short, GPU).inputs["input_ids"].shape == (1, 8)
    assert load_batch(examples, short, CPU).inputs["input_ids"].shape == (1, 7)


def test_on_a_cpu_lengths_are_what_they_are(tiny):
    lengths = tiny.table(40).lengths
    assert padded_lengths(lengths, CPU) is lengths
    assert padded_lengths(np.array([1, 8, 9]), GPU).tolist() == [8, 8, 16]
