import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.data.batching import Batch, TokenExamples, inference_batches, move, plan_epoch, plan_inference
from pipeline.data.tokenization import TokenTable

LENGTHS = st.lists(st.integers(1, 128), max_size=120).map(lambda lengths: np.array(lengths, np.int64))
SKEWED = np.random.default_rng(0).geometric(0.05, 2000).clip(3, 128)


def padding(batches: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> int:
    return sum(int(lengths[batch].max() * len(batch) - lengths[batch].sum()) for batch in batches)


@given(LENGTHS, st.integers(1, 16), st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(1, 4))
def test_every_example_stands_in_an_epoch_once(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, window: int
) -> None:
    batches = plan_epoch(lengths, batch_size, seed, epoch, window)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    again = plan_epoch(lengths, batch_size, seed, epoch, window)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


@given(st.integers(1, 70), st.integers(1, 16), st.integers(0, 400))
def test_few_examples_are_passed_over_again_as_often_as_each_other(count: int, batch_size: int, more: int) -> None:
    lengths, examples = np.arange(1, count + 1), count + more
    batches = plan_epoch(lengths, batch_size, 1, 0, examples=examples)
    assert len(batches) == -(-examples // batch_size), "as many steps as so many examples take"
    times = np.bincount(np.concatenate(batches), minlength=count)
    assert times.sum() == examples
    assert times.max() - times.min() <= 1
    if batch_size <= count:
        assert max(np.bincount(batch).max() for batch in batches) <= 2, "a batch is not of one example again and again"
    if not more:
        usual = plan_epoch(lengths, batch_size, 1, 0)
        assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in usual]


def test_epochs_and_seeds_differ_in_batches_and_in_their_order() -> None:
    plans = [plan_epoch(SKEWED, 32, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(np.concatenate(plan)) for plan in plans}) == 3
    assert len({frozenset(map(frozenset, (batch.tolist() for batch in plan))) for plan in plans}) == 3
    for plan in plans:
        means = np.array([SKEWED[batch].mean() for batch in plan])
        assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5, "neither short nor long texts come first"


def test_lengths_within_a_batch_are_close() -> None:
    shuffled = np.random.default_rng(0).permutation(len(SKEWED))
    unsorted = [shuffled[start : start + 32] for start in range(0, len(shuffled), 32)]
    assert padding(plan_epoch(SKEWED, 32, 0, 0), SKEWED) < 0.1 * padding(unsorted, SKEWED)


@given(LENGTHS, st.integers(1, 400), st.integers(1, 20))
def test_inference_batches_hold_every_example_once_within_the_limits(
    lengths: NDArray[np.int64], max_tokens: int, max_examples: int
) -> None:
    batches = plan_inference(lengths, max_tokens, max_examples)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= max_tokens
        assert len(batch) <= max_examples
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True), "memory runs out at once or never"


def test_a_cpu_predicts_in_smaller_batches_than_a_gpu() -> None:
    lengths = np.full(2000, 30)
    sizes = {kind: inference_batches(lengths, torch.device(kind))[0].size for kind in ("cpu", "cuda")}
    assert sizes == {"cpu": 2048 // 30, "cuda": 8192 // 32}
    assert inference_batches(lengths, torch.device("cpu"), max_tokens=100)[0].size == 3
    assert inference_batches(lengths, torch.device("cpu"), max_tokens=10**6)[0].size == sizes["cpu"], "no more than suits it"


def test_a_batch_is_padded_to_its_longest_example() -> None:
    table = TokenTable(np.array([5, 6, 7, 8, 9, 4], np.int32), np.array([0, 2, 5, 6]), np.array([1, 0, 1]))
    batch = TokenExamples(table, pad_id=99).batch(np.array([2, 1]))
    assert batch.inputs["input_ids"].tolist() == [[4, 99, 99], [7, 8, 9]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch.labels.tolist() == [1, 0]
    assert batch.tokens == 4
    assert batch.shape == (2, 3)
    assert {str(tensor.dtype) for tensor in (*batch.inputs.values(), batch.labels)} == {"torch.int64"}


class OnTheHost:
    """Stands for a tensor in the machine's memory, and notes how it is brought to a GPU."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.calls: list[object] = []

    def pin_memory(self) -> "OnTheHost":
        self.calls.append("pin_memory")
        return self

    def to(self, device: torch.device, **options: object) -> "OnTheHost":
        self.calls.append((device.type, options))
        return self


def test_a_gpu_is_given_pinned_memory_and_not_waited_for() -> None:
    tensor = OnTheHost()
    move(tensor, torch.device("cuda"))
    assert tensor.calls == ["pin_memory", ("cuda", {"non_blocking": True})]


def test_on_a_cpu_a_batch_stays_where_it_is() -> None:
    table = TokenTable(np.array([5, 6, 7], np.int32), np.array([0, 2, 3]), np.array([1, 0]))
    batch = TokenExamples(table, pad_id=0).batch(np.array([0, 1]))
    moved = batch.to(torch.device("cpu"))
    assert moved.labels is batch.labels
    assert all(moved.inputs[name] is tensor for name, tensor in batch.inputs.items())


def test_hidden_states_are_widened_where_they_arrive() -> None:
    states = torch.tensor([[[1.5]]], dtype=torch.bfloat16)
    batch = Batch({"inputs_embeds": states}, torch.zeros(1), 1, (1, 1)).to(torch.device("meta"))
    assert batch.inputs["inputs_embeds"].dtype == torch.float32
    assert batch.inputs["inputs_embeds"].device.type == "meta"


@pytest.mark.parametrize(
    ("length", "longest", "expected"), [(5, 60, 8), (8, 60, 8), (9, 60, 16), (9, 12, 12), (1, 60, 1), (9, 7, 9)]
)
def test_a_batch_is_lengthened_to_a_multiple_by_padding(length, longest, expected) -> None:
    ids, states = torch.full((2, length), 7), torch.ones(2, length, 3)
    batch = Batch(
        {"input_ids": ids, "attention_mask": torch.ones_like(ids), "inputs_embeds": states}, torch.zeros(2), 2, (2, 2)
    )
    found = batch.lengthened(8, longest, pad_id=4).inputs
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "input_ids": (2, expected),
        "attention_mask": (2, expected),
        "inputs_embeds": (2, expected, 3),
    }
    for name, value in (("input_ids", 4), ("attention_mask", 0), ("inputs_embeds", 0)):
        assert torch.equal(found[name][:, :length], batch.inputs[name])
        assert (found[name][:, length:] == value).all()
