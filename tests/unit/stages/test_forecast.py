from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.stages.study.dry_run import Seconds, describe_seconds, expected_seconds, until_all_ended
from pipeline.tracking.runs import Run
from pipeline.training.setup import EncoderInputs


def past(number: int, wall: float, steps: float, speed: float, **changes: Any) -> Run:
    tags = {"stage": "train", "strategy": "full", "base_sha256": "b", **changes.pop("tags", {})}
    metrics = {"cost/wall_seconds": wall, "cost/train_seconds": steps, "cost/examples_per_second": speed}
    metrics |= changes.pop("metrics", {})
    params = {
        "compute_dtype": changes.pop("dtype", "float32"),
        "dataset": "reviews.csv",
        "max_length": "128",
        "batch_size": "8",
    }
    params |= changes.pop("params", {})
    return Run(str(number), "full", changes.pop("status", "FINISHED"), number, tags=tags, params=params, metrics=metrics)


def planned(examples: int, epochs: int) -> Any:
    config = SimpleNamespace(
        strategy="full",
        epochs=epochs,
        dataset="reviews.csv",
        max_length=128,
        batch_size=8,
        eval_steps=None,
        long_texts="head",
        window_overlap=0.25,
        gradient_checkpointing=False,
    )
    prepared = SimpleNamespace(manifest=SimpleNamespace(rows={"validation": 0}))
    inputs: Any = SimpleNamespace(config=config, base_sha256="b", prepared=prepared)
    inputs.examples_of = lambda config: examples * config.epochs
    inputs.count = {"train": examples, "validation": 0}.get
    inputs.computation, inputs.work = partial(EncoderInputs.computation, inputs), partial(EncoderInputs.work, inputs)
    return inputs


def about(seconds: float) -> Seconds:
    return Seconds(pytest.approx(seconds), pytest.approx(seconds))  # type: ignore[arg-type]


def test_the_same_amount_takes_what_it_took() -> None:
    assert expected_seconds([past(1, 30, 20, 10)], planned(100, 2), "fp32") == about(30)


def test_steps_are_scaled_by_epochs_and_examples_and_the_rest_is_not() -> None:
    runs = [past(1, 30, 20, 10)]
    assert expected_seconds(runs, planned(100, 4), "fp32") == about(50)
    assert expected_seconds(runs, planned(400, 2), "fp32") == about(90)


def test_the_median_counts() -> None:
    runs = [past(number, wall, 20, 10) for number, wall in enumerate((30, 40, 500))]
    assert expected_seconds(runs, planned(100, 2), "fp32") == about(40)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "FAILED"},
        {"dtype": "bfloat16"},
        {"tags": {"strategy": "lora"}},
        {"tags": {"base_sha256": "other"}},
        {"tags": {"stage": "evaluate"}},
        {"tags": {"hardware": "another machine"}},
        {"params": {"dataset": "longer_texts.csv"}},
        {"params": {"max_length": "512"}},
        {"params": {"long_texts": "windows"}},
        {"params": {"batch_size": "64"}},
        {"params": {"gradient_checkpointing": "true"}},
    ],
)
def test_runs_of_something_else_say_nothing(changes: dict[str, Any]) -> None:
    assert expected_seconds([past(1, 30, 20, 10, **changes)], planned(100, 2), "fp32") is None
    assert expected_seconds([], planned(100, 2), "fp32") is None


def test_options_that_were_typed_otherwise_are_the_same() -> None:
    typed = {"gradient_checkpointing": "false", "batch_size": "08", "window_overlap": ".25", "epochs": "", "eval_steps": "none"}
    assert expected_seconds([past(1, 30, 20, 10, params=typed)], planned(100, 2), "fp32") == about(30)


def test_a_run_of_a_few_steps_does_not_foretell_a_long_one() -> None:
    # Extrapolated, these eight steps would make the 427 of a training half an hour; most of their time is spent once.
    short = past(1, 36, 26, 64 / 26)
    assert expected_seconds([short], planned(1708, 2), "fp32") is None
    assert expected_seconds([short, past(2, 30, 20, 32 / 20)], planned(1708, 2), "fp32") is None


def test_runs_of_two_lengths_tell_the_fixed_part_from_that_of_an_example() -> None:
    runs = [past(1, 36, 26, 64 / 26), past(2, 76, 66, 864 / 66)]  # 22.8 s, and 0.05 s an example, beside 10 s
    assert expected_seconds(runs, planned(1708, 2), "fp32") == about(10 + 22.8 + 0.05 * 3416)
    assert expected_seconds(runs, planned(32, 2), "fp32") == about(10 + 22.8 + 0.05 * 64)


def test_where_past_runs_are_neither_alike_nor_far_off_two_bounds_are_said() -> None:
    found = expected_seconds([past(1, 30, 20, 10)], planned(1000, 1), "fp32")  # five times as many examples
    assert found == Seconds(30, 110)
    assert str(found) == "30 s to 2 min"
    found = expected_seconds([past(1, 30, 20, 10)], planned(40, 1), "fp32")
    assert found == Seconds(14, 30)


def test_from_fifty_steps_on_a_speed_holds() -> None:
    assert expected_seconds([past(1, 50, 40, 10)], planned(10_000, 1), "fp32") == about(1010)


def test_evaluations_the_work_of_frozen_layers_and_the_test_are_counted_by_their_numbers() -> None:
    inputs = planned(800, 1)
    inputs.prepared.manifest.rows["validation"] = 400
    inputs.count = {"train": 800, "validation": 400}.get
    metrics = {"data/train_examples": 400, "cost/cache_seconds": 50}
    tags, params = {"frozen_prefix_cache": "built"}, {"max_eval_samples": "100", "epochs": "1"}
    # 40 s of steps at 10 examples a second, 50 s of caching 500 texts, 0.4 of a tenth of a second for each of 100: 6 s are left
    run = past(1, 100, 40, 10, metrics=metrics, tags=tags, params=params)
    test = Run("t", "evaluate", "FINISHED", 0, tags={"stage": "evaluate", "evaluates": "1"}, metrics={"cost/wall_seconds": 9.0})
    assert expected_seconds([run, test], inputs, "fp32") == about(6 + 80 + 0.1 * 1200 + 0.04 * 400 + 9)
    cached = past(2, 40, 40, 10, metrics={"data/train_examples": 800}, params={"epochs": "1"})  # of the same 1,200 texts
    assert expected_seconds([cached, cached, run], inputs, "fp32") == about(80 + 0.04 * 400)


def test_trials_that_trained_together_say_nothing_of_one_alone() -> None:
    alone = past(1, 30, 20, 10, metrics={"cost/grid_points": 1})
    together = past(2, 3, 2, 100, tags={"stage": "trial"}, metrics={"cost/grid_points": 12})
    assert expected_seconds([alone, together, together], planned(100, 2), "fp32") == about(30)
    assert expected_seconds([together], planned(100, 2), "fp32") is None


def test_durations_are_said_in_a_fitting_unit() -> None:
    assert [describe_seconds(s) for s in (0, 89, 600, 7200)] == ["0 s", "89 s", "10 min", "2.0 h"]


def test_only_trainings_beside_as_many_others_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    alone, beside = past(1, 30, 20, 10), past(2, 50, 40, 5, tags={"fairtune.workers": "2"})
    assert expected_seconds([alone, beside], planned(100, 2), "fp32") == about(30)
    assert expected_seconds([alone, beside], planned(100, 2), "fp32", workers=2) == about(50)
    assert expected_seconds([alone, beside], planned(100, 2), "fp32", workers=3) is None
    monkeypatch.setattr("pipeline.tracking.provenance.cpu_name", lambda: "a CPU")
    for threads, told in (("4", True), ("8", False)):
        there = past(3, 50, 40, 5, tags={"fairtune.workers": "2", "fairtune.hardware": f"a CPU, {threads} threads"})
        assert (expected_seconds([there], planned(100, 2), "fp32", workers=2) is not None) == told, "of its share of the cores"


def test_of_several_at_once_the_last_to_end_counts() -> None:
    assert until_all_ended([3, 1, 2, 4], 1) == 10
    assert until_all_ended([3, 1, 2, 4], 2) == 7
    assert until_all_ended([3, 1], 5) == 3
