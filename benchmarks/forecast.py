"""Forecast against measured peak memory of every strategy on the CPU; each training and each forecast in a process of its own.

python -m benchmarks.forecast --models minilm,bert-base-shape

MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=1048576 before it leaves out what glibc keeps of freed blocks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import shutil
import statistics
import sys
import time
from pathlib import Path

import click

from benchmarks.measure import measure_ours
from benchmarks.shapes import model_of

_STEPS = 2
"""From the second step on there is everything that ever is: moments, gradients and activations."""
_OPTIONS: dict[str, dict[str, object]] = {"gradual": {"strategy_args": {"head_epochs": 1, "top_epochs": 1}, "epochs": 3}}


@click.command()
@click.option("--models", default="minilm,bert-base-shape", show_default=True, help="Models or shapes, separated by commas.")
@click.option("--strategies", help="Separated by commas; every one that trains an encoder if not given.")
@click.option("--dataset", default="imdb", show_default=True, help="Of long texts, so that all have --max-length tokens.")
@click.option("--batch-size", default=32, show_default=True)
@click.option("--max-length", default=128, show_default=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--forecast-only", is_flag=True, help="Measure nothing but the seconds of a forecast.")
@click.option("--cache-dir", default=".cache", show_default=True)
def main(
    models: str,
    strategies: str | None,
    dataset: str,
    batch_size: int,
    max_length: int,
    precision: str,
    forecast_only: bool,
    cache_dir: str,
) -> None:
    """Print what is forecast by kind, what a run measures, and the error of every strategy."""
    shared = {"dataset": dataset, "batch_size": batch_size, "max_length": max_length, "cache_dir": cache_dir}
    shared |= {"max_train_samples": _STEPS * batch_size, "max_eval_samples": batch_size, "epochs": 1, "precision": precision}
    print("| model | strategy | weights | gradients | optimizer | activations | forecast MB | measured MB | error | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as processes:
        names = strategies.split(",") if strategies else processes.apply(list_encoder_strategies)
        for model_name in models.split(","):
            with model_of(model_name) as model:
                errors = []
                for strategy in names:
                    options = {**shared, **_OPTIONS.get(strategy, {}), "model": model, "strategy": strategy}
                    kinds, seconds = processes.apply(foretell, [options])
                    total, measured, error = sum(kinds), "", ""
                    if not forecast_only:
                        shutil.rmtree(Path(cache_dir) / "hidden_states", ignore_errors=True)  # computing them is part of it
                        megabytes = processes.apply(measure, [options])
                        errors.append(total / megabytes - 1)
                        measured, error = f"{megabytes:,.0f}", f"{errors[-1]:+.1%}"
                    figures = " | ".join(f"{kind:,.0f}" for kind in (*kinds, total))
                    print(f"| {model_name} | {strategy} | {figures} | {measured} | {error} | {seconds:.1f} |", flush=True)
                if errors:
                    low, middle, high = min(errors), statistics.median(errors), max(errors)
                    print(f"\n{model_name}: error {low:+.1%} to {high:+.1%}, median {middle:+.1%}\n")


def list_encoder_strategies() -> list[str]:
    """Those whose memory can be forecast with the packages that there are."""
    from pipeline.strategies.base import create_strategy, list_encoder_strategies

    packages = {name: create_strategy(name, {}).packages for name in list_encoder_strategies()}
    return [name for name, needed in packages.items() if all(map(importlib.util.find_spec, needed))]


def foretell(options: dict[str, object]) -> tuple[list[float], float]:
    """MB of weights, gradients, optimizer and activations at their highest together, and the seconds that this took."""
    from pipeline.config import TrainConfig
    from pipeline.training.memory.forecast import forecast_training
    from pipeline.training.setup import EncoderInputs, find_inputs, read_texts

    with contextlib.redirect_stdout(sys.stderr):
        inputs = find_inputs(TrainConfig(**options))  # type: ignore[arg-type]
        assert isinstance(inputs, EncoderInputs)
        texts = read_texts(inputs)
        began = time.perf_counter()
        memory = forecast_training(inputs, texts, inputs.config.precision)  # type: ignore[arg-type]
    return [size / 2**20 for size in memory.at_peak.values()], time.perf_counter() - began


def measure(options: dict[str, object]) -> float:
    """Peak memory in MB above what the process held before the model was loaded, as a run logs it."""
    from pipeline.config import TrainConfig

    with contextlib.redirect_stdout(sys.stderr):
        return measure_ours(TrainConfig(**options))["added_mb"]  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
