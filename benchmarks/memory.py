"""Peak memory of one training, with what makes it less: batches in pieces, layers computed anew, another optimizer.

python -m benchmarks.memory --models minilm,bert-base-shape --dataset imdb --batch-size 16
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys

import click

from benchmarks.measure import measure_ours
from benchmarks.shapes import model_of

SETTINGS: dict[str, dict[str, object]] = {
    "as it is": {},
    "4 pieces": {"gradient_accumulation_steps": 4},
    "layers computed anew": {"gradient_checkpointing": True},
    "both": {"gradient_accumulation_steps": 4, "gradient_checkpointing": True},
    "both and adafactor": {"gradient_accumulation_steps": 4, "gradient_checkpointing": True, "optimizer": "adafactor"},
}
_STEPS, _EVALUATED = 2, 8
"""From the second step on there is everything that ever is: moments, gradients and activations."""


@click.command()
@click.option("--models", default="minilm,bert-base-shape", show_default=True, help="Models or shapes, separated by commas.")
@click.option("--strategies", default="full,lora", show_default=True)
@click.option("--settings", default=",".join(SETTINGS), show_default=True, help="Which of them, separated by commas.")
@click.option("--dataset", default="imdb", show_default=True, help="Of long texts, so that all have --max-length tokens.")
@click.option("--batch-size", default=16, show_default=True)
@click.option("--max-length", default=128, show_default=True)
@click.option("--cache-dir", default=".cache", show_default=True)
def main(models: str, strategies: str, settings: str, dataset: str, batch_size: int, max_length: int, cache_dir: str) -> None:
    """Print peak memory and seconds of a step for every model, strategy and setting, each in a process of its own."""
    shared = {"dataset": dataset, "batch_size": batch_size, "max_length": max_length, "cache_dir": cache_dir}
    shared |= {"max_train_samples": _STEPS * batch_size, "max_eval_samples": _EVALUATED, "epochs": 1, "precision": "fp32"}
    print("| model | strategy | setting | peak MB | seconds a step |\n|---|---|---|---|---|")
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as processes:
        for name in models.split(","):
            with model_of(name) as model:
                for strategy in strategies.split(","):
                    for setting in settings.split(","):
                        given = {**shared, **SETTINGS[setting], "model": model, "strategy": strategy}
                        megabytes, seconds = processes.apply(measure, [given])
                        print(f"| {name} | {strategy} | {setting} | {megabytes:,.0f} | {seconds:.1f} |", flush=True)


def measure(options: dict[str, object]) -> tuple[float, float]:
    """Peak memory in MB above what the process held before the model was loaded, and seconds of a step."""
    from pipeline.config import TrainConfig

    with contextlib.redirect_stdout(sys.stderr):
        found = measure_ours(TrainConfig(**options))  # type: ignore[arg-type]
    return found["added_mb"], found["seconds_per_step"]


if __name__ == "__main__":
    main()
