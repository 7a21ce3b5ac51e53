"""How the work of a step and of an evaluation is shared out; without any other process."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.batching import plan_epoch, plan_inference
from pipeline.training.distributed import ALONE, ProcessGroup, find_context


class Member(ProcessGroup):
    """A process of a group that is not there."""

    def __init__(self, rank, size):
        super().__init__()
        self.__dict__.update(_rank=rank, _size=size)

    rank = property(lambda self: self._rank)
    size = property(lambda self: self._size)


def group(size):
    return [Member(rank, size) for rank in range(size)]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    batch_size=st.integers(1, 9),
    size=st.integers(2, 5),
    pieces=st.integers(1, 4),
)
def test_the_weighted_means_of_the_shares_average_to_the_mean_of_the_batch(lengths, batch_size, size, pieces):
    losses = np.random.default_rng(len(lengths)).random(len(lengths))
    for batch in plan_epoch(np.array(lengths), batch_size, seed=1, epoch=0):
        shares = [member.share(batch) for member in group(size)]
        assert all(len(share.indices) for share in shares), "every process takes part"
        cut = [share.cut(pieces) for share in shares]
        weighted = [sum(losses[piece.indices].mean() * piece.weight for piece in own) for own in cut]
        assert np.mean(weighted) == pytest.approx(losses[batch].mean())
        assert [len(own) for own in cut] == [min(pieces, len(share.indices)) for share in shares]
        for share, own in zip(shares, cut, strict=True):
            assert list(np.concatenate([piece.indices for piece in own])) == list(share.indices), "in their order"
        assert all(share.cut(1)[0].weight == share.weight for share in shares), "to the last bit"
        computed = np.concatenate([share.indices for share in shares if share.weight])
        assert sorted(computed) == sorted(batch), "every example once"
        parts = Member(0, size).parts(batch)
        assert [list(part) for part in parts] == [list(share.indices) for share in shares if share.weight]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40), size=st.integers(2, 5))
def test_an_evaluation_is_dealt_out_without_remainder(lengths, size):
    batches = plan_inference(np.array(lengths), 64)
    dealt = [batch for member in group(size) for batch in member.shard(batches)]
    assert sorted(np.concatenate(dealt)) == list(range(len(lengths)))


def test_shares_hold_short_and_long_texts_alike():
    batch = np.arange(8)  # a batch is sorted by length
    assert [list(member.share(batch).indices) for member in group(2)] == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_process_alone_changes_nothing():
    batch = np.arange(3)
    assert find_context(1) is ALONE
    assert isinstance(find_context(2), ProcessGroup)
    share = ALONE.share(batch)
    assert share.indices is batch
    assert share.weight == 1.0
    model = torch.nn.Linear(1, 1)
    assert ALONE.wrap(model, 0) is model
    assert ALONE.accelerator_options() == {}


def test_seeds_differ_between_processes_and_the_first_has_that_of_a_process_alone():
    seeds = [member.seed(7) for member in group(3)]
    assert seeds[0] == ALONE.seed(7) == 7
    assert len(set(seeds)) == 3


def test_stopping_is_asked_about_where_all_wait_anyway(monkeypatch):
    monkeypatch.setattr(Member, "broadcast", lambda self, question: question())
    assert not Member(0, 2).agree(lambda: pytest.fail("asked"), now=False)
    assert Member(0, 2).agree(lambda: True, now=True)


@pytest.mark.parametrize(("kind", "devices"), [("cuda", [1]), ("cpu", None)])
def test_a_model_is_wrapped_once_in_each_phase_on_its_own_device(monkeypatch, kind, devices):
    calls = []
    monkeypatch.setattr("torch.nn.parallel.DistributedDataParallel", lambda model, **options: calls.append(options) or object())
    model = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(device=SimpleNamespace(type=kind, index=1))]))
    member = Member(1, 2)
    first = member.wrap(model, 0)
    assert member.wrap(model, 0) is first
    assert member.wrap(model, 1) is not first
    assert calls == [{"device_ids": devices, "forward_sync_buffers": False}] * 2
