"""The GPU benchmark goes on when a measurement fails, and its report says what was found and what was not."""

import json
from importlib.util import find_spec

import torch

from benchmarks import gpu_steps
from benchmarks.gpu import Notebook, cells
from benchmarks.gpu_evaluation import measure_evaluation
from benchmarks.gpu_inputs import LENGTHS, Cell, Workshop, draw_lengths, write_texts
from benchmarks.gpu_report import write_report
from benchmarks.gpu_steps import Clock, VisitingCollator, usual_lengths
from benchmarks.gpu_together import SeedsTogether, compare_together, plans_of
from pipeline.stages.configure import resolve_strategy
from pipeline.strategies.base import create_strategy, list_encoder_strategies
from pipeline.training.setup import find_inputs


def fail() -> None:
    raise RuntimeError("out of memory")


def test_texts_are_as_long_as_those_of_sst2(tmp_path) -> None:
    assert sum(LENGTHS.values()) == 67_349
    lengths = draw_lengths(20_000, 0)
    assert abs(lengths.mean() - 13.32) < 0.2
    rows = write_texts(tmp_path / "train.csv", 200, 3).read_text().splitlines()[1:]
    assert [len(row.rpartition(",")[0].split()) + 2 for row in rows] == draw_lengths(200, 3).tolist()


def test_the_settings_with_goals_come_first() -> None:
    names = [cell.name for cell in cells()]
    assert names[:2] == ["bert-base full 32", "minilm full 32"]
    assert len(names) == len(set(names)) == 16


def test_what_fails_and_what_has_no_time_is_written_down(tmp_path) -> None:
    path = tmp_path / "gpu.jsonl"
    notebook = Notebook(path, "steps", seconds=60)
    assert notebook.measure("works", lambda: {"ms": 2.0}) == {"ms": 2.0}
    assert notebook.measure("fails", fail) is None
    assert Notebook(path, "steps", seconds=-1).measure("late", fail) is None
    works, fails, late = map(json.loads, path.read_text().splitlines())
    assert works["found"] == {"ms": 2.0}
    assert fails["error"] == "RuntimeError: out of memory"
    assert "in fail" in fails["traceback"]
    assert "skipped" in late


def test_the_report_holds_ratios_memory_and_failures(tmp_path) -> None:
    notebook = Notebook(tmp_path / "gpu.jsonl", "steps", seconds=60)
    notebook.measure("peaks", lambda: {"bf16_tflops": 500.0})
    about = {"shape": "bert-base", "strategy": "full", "batch_size": 32}
    for system, milliseconds in (("ours", 2.0), ("B", 6.0), ("A", 20.0), ("eager", 4.0)):
        found = {"ms": milliseconds, "examples_per_second": 32_000 / milliseconds, "allocated_mb": 100.0 * milliseconds + 20}
        found |= {"reserved_mb": 0.0, "flops_per_example": 1e10, "cache_seconds": 0.0, "first_visits_seconds": milliseconds}
        found |= {"steady": True, "held_before_mb": 20.0}
        notebook.measure(f"bert-base full 32 {system}", lambda f=found: f, system=system, **about)
    notebook.measure("breaks", fail)
    write_report(tmp_path)
    report = (tmp_path / "gpu.md").read_text()
    times = "20.00 | 6.00 | 2.00 | 4.00 | **10.0** | **3.0** | 5 / 2.5 | 20.0 / 6.0 / 2.0"
    assert f"| bert-base | full | 32 | {times} | 16,000 | 32.0% | 0.00 |" in report
    assert "| bert-base | full | 32 | 2,000 | 600 | 200 |" in report
    assert "breaks: RuntimeError: out of memory" in report
    assert (tmp_path / "gpu.png").stat().st_size > 1000
    assert json.loads((tmp_path / "gpu.json").read_text())["steps"][0]["B / ours"] == 3.0


def test_the_usual_trainers_timed_batches_are_of_lengths_that_it_met(monkeypatch) -> None:
    class Tokenizer:
        pad_token_id = 7
        padding_side = "right"

        def pad(self, examples, **_):
            longest = max(len(example["input_ids"]) for example in examples)
            rows = [example["input_ids"] + [7] * (longest - len(example["input_ids"])) for example in examples]
            return {"input_ids": torch.tensor(rows)}

    monkeypatch.setattr("transformers.data.data_collator.pad_without_fast_tokenizer_warning", lambda t, e, **_: t.pad(e))
    collator = VisitingCollator(Tokenizer(), [3, 6])
    examples = [{"input_ids": [1] * length} for length in (2, 5)]
    assert [collator(examples)["input_ids"].shape[1] for _ in range(3)] == [6, 3, 5]
    assert collator.to_visit == []
    assert collator([{"input_ids": [1] * 9}])["input_ids"].tolist() == [[1] * 6]
    assert collator([{"input_ids": [1] * 2}])["input_ids"].tolist() == [[1, 1, 7]]
    assert VisitingCollator(Tokenizer(), [])(examples)["input_ids"].shape == (2, 5)


def test_what_is_timed_before_every_length_was_met_is_not_steady(monkeypatch) -> None:
    def steady(warm_up: int) -> bool:
        clock = Clock(0.0, warm_up)
        for step in range(1, 9):
            clock.on_step(step, 8)
        return bool(clock.found(1)["steady"])

    assert steady(3)
    assert steady(100)  # a training that is shorter than its warm-up is warm before its last step
    monkeypatch.setattr(gpu_steps, "LONGEST_WARM_UP", 0.0)
    assert not steady(3)


def test_no_ratio_is_made_of_what_is_not_steady(tmp_path) -> None:
    notebook = Notebook(tmp_path / "gpu.jsonl", "steps", seconds=60)
    about = {"shape": "bert-base", "strategy": "full", "batch_size": 32}
    for system, milliseconds, first in (("ours", 2.0, 1.0), ("B", 60.0, 7.0), ("A", 20.0, -0.4)):
        found = {"ms": milliseconds, "examples_per_second": 1.0, "first_visits_seconds": first, "steady": system != "B"}
        found |= {"flops_per_example": 1.0, "cache_seconds": 0.0}
        notebook.measure(f"bert-base full 32 {system}", lambda f=found: f, system=system, **about)
    write_report(tmp_path)
    row = json.loads((tmp_path / "gpu.json").read_text())["steps"][0]
    assert row["A / ours"] == 10.0
    assert "B / ours" not in row
    report = (tmp_path / "gpu.md").read_text()
    assert "| 20.00 | not steady (60.00) | 2.00 |  | **10.0** |  | 5 / 2.5 | 0.0 / - / 1.0 |" in report


def test_every_strategy_is_given_the_epochs_that_it_needs(tmp_path) -> None:
    workshop = Workshop(tmp_path, tiny=True)
    workshop.make()
    there = [name for name in list_encoder_strategies() if all(map(find_spec, create_strategy(name, {}).packages))]
    assert len(there) > 15
    for name in there:
        fitting = {"strategy_args": {"block_size": 32}} if name == "c3a" else {}  # the tiny encoder is narrower than its blocks
        config = workshop.config(Cell("bert-base", name, 32), 10, **fitting)
        find_inputs(resolve_strategy(config))


def test_the_usual_lengths_are_those_of_random_batches() -> None:
    small, large = usual_lengths(32), usual_lengths(256)
    assert 18 <= small[0] < 30 < 45 < small[-1] < 66
    assert large[0] > small[0]


def test_seeds_trained_together_have_the_losses_that_they_have_alone(tmp_path) -> None:
    workshop = Workshop(tmp_path, tiny=True)
    workshop.make()
    cell = Cell("minilm", "lora", 32)
    assert compare_together(workshop, cell, 3, 8)["largest_relative_difference"] < 1e-5
    together = SeedsTogether(plans_of(workshop, cell, 3, True, 8, learning_rate=0.1, warmup_ratio=0.0))
    before = {name: weight.detach().clone() for name, weight in together.weights.items()}
    losses = next(together.train()).tolist()
    assert len(set(losses)) == 3  # the same texts, but heads and adapters of their own
    assert all(
        (together.weights[name] - before[name]).flatten(1).abs().amax(1).gt(0).all() for name in before if "lora_B" in name
    )


def test_predicting_is_timed_in_batches_of_a_training_and_of_a_test(tmp_path) -> None:
    workshop = Workshop(tmp_path, tiny=True)
    workshop.make()
    for system in ("ours", "ours in a test"):
        assert measure_evaluation(workshop, "minilm", system)["texts_per_second"] > 0


def test_the_report_says_what_seeds_in_one_step_gain(tmp_path) -> None:
    notebook = Notebook(tmp_path / "gpu.jsonl", "together", seconds=60)
    about = {"shape": "minilm", "strategy": "lora", "batch_size": 32, "same_order": False}
    found = {"alone_ms": 3.0, "ms_of_a_seed": 2.0, "alone / together": 1.5}
    notebook.measure("together minilm lora 32, orders of their own", lambda: found, **about)
    write_report(tmp_path)
    assert "| minilm | lora | 32 | each its own | 3.00 | 2.00 | **1.50** |" in (tmp_path / "gpu.md").read_text()


def test_a_part_is_not_shown_as_the_whole_and_what_is_left_out_stands_once(tmp_path) -> None:
    notebook, late = (Notebook(tmp_path / "gpu.jsonl", "search", seconds=seconds) for seconds in (60, -1))
    whole = {"train_seconds": 2.0, "one_off_seconds": 0.5, "grid_seconds": 3.0, "wall_seconds": 4.0}
    notebook.measure("search ours", lambda: whole, system="ours")
    for system, size, book in (("B", 16, notebook), ("B", 32, notebook), ("A", 16, notebook), ("A", 32, late)):
        book.measure(f"search {system} {size}", lambda: {"train_seconds": 10.0}, system=system, batch_size=size)
    late.measure("search A 64", fail, system="A", batch_size=64)
    compiled = {"ms": 3.0, "first_visits_seconds": -0.2, "steady": True}
    Notebook(tmp_path / "gpu.jsonl", "compile", seconds=60).measure("plain", lambda: compiled, batch_size=256, how="plain")
    write_report(tmp_path)
    report = (tmp_path / "gpu.md").read_text()
    assert "|  | 20.0 | 2.00 |  | 10 | 0.50 | 3.00 | 4.00 |" in report
    assert "| 256 | plain | 3.00 | 0.0 |" in report
    assert "- search: no time was left for search A 32, search A 64\n" in report
