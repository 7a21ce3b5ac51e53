"""Hidden states on disk: found again, bounded, whole or not at all, whoever writes at the same time."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.tokenization import TokenTable
from pipeline.errors import TrainingError
from pipeline.training.activation_cache import ActivationCache

WIDTH = 4


def table(lengths: list[int], seed: int = 0) -> TokenTable:
    ids = np.random.default_rng(seed).integers(0, 99, sum(lengths), np.int32)
    return TokenTable(ids, np.cumsum([0, *lengths]), np.zeros(len(lengths), np.int64))


def states_of(tokens: TokenTable, dtype: torch.dtype = torch.float32):
    """Computes states that can be recognised: the token id in every place."""

    def compute(indices):
        compute.calls += 1
        longest = max(len(tokens.tokens(index)) for index in indices)
        states = torch.full((len(indices), longest, WIDTH), -1.0)
        for row, index in enumerate(indices):
            ids = torch.from_numpy(np.array(tokens.tokens(index))).float()
            states[row, : len(ids)] = ids[:, None]
        return states.to(dtype)

    compute.calls = 0
    return compute


def batches_of(count: int, size: int = 3) -> list[np.ndarray]:
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)][::-1]


def build(cache: ActivationCache, tokens: TokenTable, identity: object = "base", first_only: bool = False, **options):
    compute = states_of(tokens, **options)
    lengths = np.ones_like(tokens.lengths) if first_only else tokens.lengths
    return cache.find_or_build(identity, tokens, lengths, batches_of(len(tokens)), compute), compute.calls


@pytest.fixture
def cache(tmp_path):
    return ActivationCache(tmp_path / "hidden_states", 10**6)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sampled_from([torch.float32, torch.bfloat16]), st.data())
def test_what_is_read_is_what_was_computed(tmp_path_factory, lengths, dtype, data) -> None:
    tokens = table(lengths)
    found, _ = build(ActivationCache(tmp_path_factory.mktemp("cache"), 10**6), tokens, dtype=dtype)
    indices = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8)))
    states, read = found.read(indices)
    assert states.dtype == dtype
    assert read.tolist() == [lengths[index] for index in indices]
    assert states.shape == (len(indices), max(read), WIDTH)
    for row, index in enumerate(indices):
        expected = torch.from_numpy(np.array(tokens.tokens(index))).to(dtype)
        assert torch.equal(states[row, : len(expected)], expected[:, None].expand(-1, WIDTH))
        assert not states[row, len(expected) :].any()


def test_the_first_tokens_alone_can_be_kept(cache) -> None:
    tokens = table([3, 5])
    states, lengths = build(cache, tokens, first_only=True)[0].read(np.array([1, 0]))
    assert (states.shape, lengths.tolist()) == ((2, 1, WIDTH), [1, 1])
    assert states[0, 0, 0] == tokens.tokens(1)[0]


def test_a_second_time_nothing_is_computed(cache) -> None:
    first, computed = build(cache, table([3, 5, 2, 4]))
    second, again = build(cache, table([3, 5, 2, 4]))
    assert (computed, again) == (2, 0)
    assert (first.found, second.found) == (False, True)
    assert first.build_seconds == second.build_seconds > 0


def test_other_weights_or_texts_are_computed_anew(cache) -> None:
    build(cache, table([3, 5]))
    assert build(cache, table([3, 5]), identity="another base")[1] > 0
    assert build(cache, table([5, 3]))[1] > 0
    assert build(cache, table([3, 5], seed=1))[1] > 0


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "no_record", "bad_record", "empty_record", "strange_type"])
def test_damage_is_noticed_and_computed_anew(cache, damage) -> None:
    found, _ = build(cache, table([3, 5, 2]))
    path = Path(found.file.name)
    whole, about = path.read_bytes(), path.parent / "about.json"
    {
        "flip": lambda: path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:]),
        "cut": lambda: path.write_bytes(whole[:-1]),
        "remove": path.unlink,
        "no_record": about.unlink,
        "bad_record": lambda: about.write_text("{"),
        "empty_record": lambda: about.write_text("[]"),
        "strange_type": lambda: about.write_text(about.read_text().replace("float32", "float33")),
    }[damage]()
    again, computed = build(cache, table([3, 5, 2]))
    assert computed == 1
    assert Path(again.file.name).read_bytes() == whole


def test_what_a_killed_process_left_is_no_entry(cache) -> None:
    def die(indices):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.find_or_build("base", table([3, 5]), np.array([3, 5]), batches_of(2), die)
    found, computed = build(cache, table([3, 5]))
    assert computed == 1
    assert {path.name for path in cache.folder.iterdir() if path.is_dir()} == {Path(found.file.name).parent.name}


def test_nothing_is_left_of_a_failure_and_what_a_killed_process_left_of_another_entry_goes(cache) -> None:
    def fail(indices):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.find_or_build("base", table([3, 5]), np.array([3, 5]), batches_of(2), fail)
    assert not [path for path in cache.folder.iterdir() if path.is_dir()]
    leftover = cache.folder / ".writing-0123456789abcdef"
    leftover.mkdir()
    build(cache, table([3, 5]))
    assert not leftover.exists()


def test_a_full_disk_means_computing_anew(cache, monkeypatch, caplog) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    assert build(cache, table([3, 5]))[0] is None
    assert "cannot be kept" in caplog.text
    assert "the disk is full" in caplog.text
    assert not [path for path in cache.folder.iterdir() if path.is_dir()]


def test_an_entry_that_another_process_holds_is_not_evicted(tmp_path) -> None:
    cache = ActivationCache(tmp_path, 10 * WIDTH * 4)
    held, _ = build(cache, table([10]), "held")
    name = Path(held.file.name).parent.name
    with FileLock(tmp_path / f"{name}.lock"):
        build(cache, table([10]), "new")
        assert Path(held.file.name).exists()
    build(cache, table([10]), "newer")
    assert not Path(held.file.name).exists()


def test_a_file_that_ends_early_is_an_error(cache) -> None:
    found, _ = build(cache, table([3, 5]))
    os.truncate(found.file.name, 10)
    with pytest.raises(TrainingError, match="ends early"):
        found.read(np.array([1]))


def test_the_least_recently_used_goes_when_the_bound_is_reached(tmp_path) -> None:
    entry_bytes = 10 * WIDTH * 4
    cache = ActivationCache(tmp_path, 2 * entry_bytes)
    for identity in ("old", "used"):
        build(cache, table([10]), identity)
        time.sleep(0.01)
    assert build(cache, table([10]), "old")[1] == 0, "is used again, so it is the younger one now"
    time.sleep(0.01)
    build(cache, table([10]), "new")
    assert build(cache, table([10]), "old")[1] == 0
    assert build(cache, table([10]), "used")[1] == 1


def test_what_would_not_fit_is_not_kept(tmp_path) -> None:
    cache = ActivationCache(tmp_path, 10 * WIDTH * 4 - 1)
    assert build(cache, table([10]))[0] is None
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_an_open_table_is_read_on_after_its_entry_was_evicted_by_another(tmp_path) -> None:
    found, _ = build(ActivationCache(tmp_path, 10**6), table([3, 5]))
    states, _ = found.read(np.array([0]))
    build(ActivationCache(tmp_path, 8 * WIDTH * 4), table([8]), "other")
    assert not Path(found.file.name).exists()
    assert torch.equal(found.read(np.array([0]))[0], states)


def _build_in_a_process(folder, log) -> None:
    tokens = table([3, 5, 2, 4, 6, 1])
    compute = states_of(tokens)

    def slow(indices):
        time.sleep(0.02)
        with open(log, "a") as file:  # noqa: PTH123
            file.write(f"{os.getpid()}\n")
        return compute(indices)

    found = ActivationCache(folder, 10**6).find_or_build("base", tokens, tokens.lengths, batches_of(6), slow)
    states, _ = found.read(np.arange(6))
    assert states[5, 0, 0] == tokens.tokens(5)[0]


def test_of_many_writers_one_computes_and_the_others_wait(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [context.Process(target=_build_in_a_process, args=(tmp_path / "cache", log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(set(log.read_text().split())) == 1
    assert len(log.read_text().split()) == 2
