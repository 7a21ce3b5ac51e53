"""How long commands that read the tracking store take, and how much memory, with very many runs in it.

python -m benchmarks.store

The store is made without any training, in about a minute. A run is as `train` and `evaluate` leave it, with a run of `evaluate`
beside, but for pictures, models and `per_length.csv`, which `compare` does not read. Scores are of made-up predictions.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from numpy.typing import NDArray

from pipeline.config import EvaluateConfig, TrainConfig
from pipeline.config.identity import identify, settings_hash
from pipeline.csv_text import write_csv
from pipeline.evaluation.metric import measure
from pipeline.evaluation.task import EvaluationReport, softmax
from pipeline.evaluation.testing.calibration import calibration
from pipeline.evaluation.testing.predictions import Predictions, report_by_class, tabulate
from pipeline.hashing import digest
from pipeline.stages.run_record import origin_tags
from pipeline.strategies.base import create_strategy, strategy_arguments
from pipeline.tracking.database.store_file import unsynchronised
from pipeline.tracking.mlflow_runs import EXPERIMENT, MlflowTracker
from pipeline.tracking.provenance import cpu_name
from pipeline.tracking.runs import checksum_tag
from pipeline.tracking.tags import Tag

STRATEGIES = ("full", "partial", "lora", "bitfit", "ia3", "prefix", "layernorm", "attention", "dora", "head_only")
CLASSES = ["negative", "positive"]
FINGERPRINT = digest("made-up data")
COSTS = {
    "train/loss_mean": 0.5,
    "train/steps_per_epoch": 100.0,
    "data/train_examples": 3200.0,
    "data/rows_train": 3200.0,
    "data/overlap_train_test_leaking": 1.5,
    "data/overlap_train_test_normalised": 0.5,
    "model/total_params": 22_713_986.0,
    "model/trainable_params": 333_000.0,
    "model/trainable_percent": 1.5,
    "cost/examples": 12_800.0,
    "cost/cache_seconds": 0.0,
    "cost/peak_rss_mb": 1300.0,
    "cost/artifact_mb": 10.0,
    "cost/latency_ms_median": 5.0,
    "cost/latency_ms_low": 4.9,
    "cost/latency_ms_high": 5.2,
    "cost/latency_ms_p99": 7.0,
}
"""Alike for all runs, beside those that vary."""
STEPS, LOGGED, EVALUATIONS = 400, 10, 4
"""Of one training: steps, after how many the loss is logged, and how often it is evaluated."""
READ = {
    "compare": ("-m", "pipeline", "compare", "--study", "all"),
    "load_results": ("-c", "from pipeline import load_results; load_results()"),
}
"""What is measured, each in a process of its own."""
_MB = 2**10  # in kB, in which Linux counts


@click.command()
@click.option("--rows", default=20, show_default=True, help="Rows of the table.")
@click.option("--seeds", default=50, show_default=True, help="Runs of each row.")
@click.option("--texts", default=200, show_default=True, help="Test texts.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--code", type=click.Path(path_type=Path, exists=True), help="Another checkout, whose `pipeline` is measured.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/store"), show_default=True)
def main(rows: int, seeds: int, texts: int, repeats: int, code: Path | None, output: Path) -> None:
    """Make a store in --output if there is none, measure what reads it, and print the table."""
    output.mkdir(parents=True, exist_ok=True)
    if not (output / "mlflow.db").exists():
        began = time.perf_counter()
        make_store(output.absolute(), rows, seeds, texts)
        print(f"{rows * seeds:,} runs made in {time.perf_counter() - began:.0f} s", flush=True)
    found = [{"command": command, **read(command, output, code)} for _ in range(repeats) for command in READ]
    table = pd.DataFrame(found).groupby("command", sort=False).median().reset_index()
    print(f"{cpu_name()}, {os.cpu_count()} CPUs\n\n{table.to_markdown(index=False, floatfmt='.1f')}")


def read(command: str, store: Path, code: Path | None = None) -> dict[str, float]:
    """Seconds by the clock and of processor time, and the highest resident memory, of one process that reads the store."""
    checkout = (code or Path.cwd()).absolute()  # `pipeline` is taken from the working folder
    address = {"MLFLOW_TRACKING_URI": f"sqlite:///{store.absolute() / 'mlflow.db'}"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *READ[command]],
        stdout=subprocess.DEVNULL,
        cwd=checkout,
        env=os.environ | address | {"PYTHONPATH": str(checkout)},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{command} ended with exit status {process.returncode}.")
    return {
        "seconds": time.perf_counter() - began,
        "processor seconds": used.ru_utime + used.ru_stime,
        "peak MB": used.ru_maxrss / _MB,
    }


def make_store(folder: Path, rows: int, seeds: int, texts: int) -> None:
    """Runs of so many rows and seeds in `mlflow.db`, a row's runs one after the other, and their artifacts beside."""
    with unsynchronised():
        writer = _Writer(folder)
        data = TestData.make_up(texts)
        for row, config in enumerate(list_rows(rows)):
            skill = 1.0 + 0.5 * np.sin(row)  # neighbours in the table are close, its ends are not
            for seed in range(seeds):
                seeded = dataclasses.replace(config, seed=seed)
                writer.add(seeded, data, data.answer(skill, seed=row * seeds + seed))


def list_rows(rows: int) -> Iterator[TrainConfig]:
    """A configuration for each row: strategies, and each again at the next rate."""
    for number in range(rows):
        again, place = divmod(number, len(STRATEGIES))
        strategy = STRATEGIES[place]
        yield TrainConfig(
            strategy=strategy,
            strategy_args=strategy_arguments(create_strategy(strategy, {})),
            learning_rate=round(1e-4 * (1 + again), 6),
            model="minilm",
            dataset="rotten_tomatoes",
            precision="fp32",
        )


@dataclasses.dataclass(frozen=True)
class TestData:
    """Made-up texts of two classes."""

    __test__ = False  # pytest takes it for one of its own

    texts: list[str]
    gold: NDArray[np.int64]
    """Index of the true class; shape [texts]."""
    hardness: NDArray[np.float64]
    """Against every model; shape [texts]."""

    @classmethod
    def make_up(cls, texts: int) -> TestData:
        """The same each time."""
        generator = np.random.default_rng(0)
        words = [f"word{number}" for number in range(1000)]
        sentences = [" ".join(generator.choice(words, length)) for length in generator.integers(5, 40, texts)]
        return cls(sentences, np.arange(texts) % len(CLASSES), generator.normal(size=texts))

    def answer(self, skill: float, seed: int) -> NDArray[np.float64]:
        """Probabilities as a model of such skill gives them; shape [texts, classes]."""
        margin = skill - self.hardness + 0.5 * np.random.default_rng(seed).normal(size=len(self.gold))
        return softmax(np.stack([np.where(self.gold == label, margin, -margin) for label in range(len(CLASSES))], axis=1))

    def test(self, probabilities: NDArray[np.float64]) -> EvaluationReport:
        """Scores and tables as `evaluate` makes them, without pictures."""
        scores = {f"score_{name}": probabilities[:, label] for label, name in enumerate(CLASSES)}
        predictions = Predictions(probabilities.argmax(axis=1), scores)
        by_class = pd.DataFrame(report_by_class(self.gold, predictions.predicted, CLASSES)).T
        tables = {
            "predictions.csv": write_csv(tabulate({"sentence": self.texts}, self.gold, predictions, CLASSES)),
            "per_class.csv": write_csv(by_class.reset_index(names="class")),
        }
        measured = measure(predictions.beside(self.gold, CLASSES))
        return EvaluationReport(measured, tables, {}, calibration(self.gold, predictions, CLASSES))

    @property
    def parts(self) -> list[DatasetInput]:
        """What a run says of which data went in."""
        context = {"train": "training", "validation": "validation", "test": "test"}
        return [
            DatasetInput(
                Dataset(f"made-up-{part}", digest(part)[:32], "http", '{"url": "made-up"}'),
                [InputTag("mlflow.data.context", said)],
            )
            for part, said in context.items()
        ]

    @property
    def manifest(self) -> dict[str, Any]:
        """What is recorded of prepared data, as far as `compare` reads it."""
        parts = dict.fromkeys(("train", "validation", "test"), len(self.gold))
        each = [int((self.gold == label).sum()) for label in range(len(CLASSES))]
        return {"classes": CLASSES, "rows": parts, "rows_by_class": dict.fromkeys(parts, each), "dropped": {}, "audit": {}}


class _Writer:
    """Writes whole runs, each in a few requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "artifacts"
        self.client = MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}").client
        self.experiment = self.client.create_experiment(EXPERIMENT, artifact_location=str(self.folder))

    def add(self, config: TrainConfig, data: TestData, probabilities: NDArray[np.float64]) -> None:
        """A training with its test, and the run of `evaluate` beside it."""
        report = data.test(probabilities)
        texts = {
            "config.json": json.dumps(dataclasses.asdict(config), indent=1),
            "environment.json": json.dumps({"python": platform.python_version(), "command": sys.argv}),
            "manifest.json": json.dumps(data.manifest, indent=1),
            "parameters.csv": "name,shape,size,trains\n",
            **report.tables,
        }
        tags = {
            **origin_tags("train", config, FINGERPRINT),
            "strategy": config.strategy,
            "recipe": config.recipe,
            Tag.STRATEGY_ARGS: json.dumps(config.strategy_args),
            Tag.SETTINGS_HASH: settings_hash(config),
            Tag.BASE_SHA256: digest("base"),
            Tag.CODE_VERSION: digest("code"),
            Tag.TEST_CODE_VERSION: digest("test code"),
            Tag.HARDWARE: "a machine",
            Tag.NUM_PROCESSES: "1",
            Tag.FROZEN_PREFIX_CACHE: "unused",
            "mlflow.note.content": f"A training of {config.strategy} that never was.",
            **{name: value for path, text in texts.items() for name, value in checksum_tag(path, text).items()},
        }
        options = {name: value for name, value in identify(config).items() if name != "strategy_args" and value is not None}
        params = {**options, **config.strategy_args, "compute_dtype": "float32"}
        test = {**report.metrics, **report.calibration, "examples": len(data.gold), "rows": len(data.gold)}
        metrics = [*_list_history(report.metrics), *_at(STEPS, {f"test/{name}": value for name, value in test.items()})]
        run_id = self._write(f"{config.strategy}-seed{config.seed}", tags, params, metrics, data.parts)
        folder = self.folder / run_id / "artifacts"
        folder.mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).write_text(text, encoding="utf-8", newline="")
        asked = EvaluateConfig(run_id=run_id)
        tags = {**origin_tags("evaluate", asked, FINGERPRINT), Tag.CODE_VERSION: digest("test code"), Tag.EVALUATES: run_id}
        tags[Tag.SETTINGS_HASH] = settings_hash(asked)
        self._write(f"evaluate-{config.strategy}", tags, {"run_id": run_id}, _at(0, {"cost/wall_seconds": 1.0}))

    def _write(
        self,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        metrics: Sequence[Metric],
        datasets: Sequence[DatasetInput] = (),
    ) -> str:
        run = self.client.create_run(self.experiment, run_name=name, tags={str(tag): value for tag, value in tags.items()})
        run_id: str = run.info.run_id
        self.client.log_batch(run_id, metrics=metrics, params=[Param(name, str(value)) for name, value in params.items()])
        if datasets:
            self.client.log_inputs(run_id, datasets)
        self.client.set_terminated(run_id)
        return run_id


def _list_history(scores: Mapping[str, float]) -> Iterator[Metric]:
    """What `train` logs: the loss by step, the scores of each evaluation, which come near those of the test, and costs."""
    for step in range(LOGGED, STEPS + 1, LOGGED):
        yield from _at(step, {"train/loss": 0.7 - 0.4 * step / STEPS, "train/learning_rate": 1e-4 * (1 - step / STEPS)})
    for number in range(1, EVALUATIONS + 1):
        share = 1 - 0.3 / number
        validation = {f"val/{name}": value * share for name, value in scores.items()}
        yield from _at(number * STEPS // EVALUATIONS, {**validation, "val/loss": 0.6 - 0.1 * share})
    yield from _at(STEPS, COSTS | {"cost/train_seconds": 50.0 * scores["accuracy"]})


def _at(step: int, values: Mapping[str, float]) -> list[Metric]:
    return [Metric(name, float(value), time.time_ns() // 1_000_000, step) for name, value in values.items()]


if __name__ == "__main__":
    main()
