"""What one `train` on 64 texts costs, beside a plain Trainer script for the same texts, and beside the imports that it needs.

python -m benchmarks.start --repeats 5

Each runs in a process of its own, all in turn. Data, tokens and the store are made before, by a training that is not counted.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd

TEXTS = 64
STRATEGIES = ("full", "lora")
_ROOT = Path(__file__).parents[1]
_SCRIPT = Path(__file__).with_name("plain_trainer.py")
_IMPORTS = "import torch, transformers.models.bert.modeling_bert; from mlflow.tracking import MlflowClient"
_SHARE_OF_TRAINER, _TIMES_IMPORTS = 0.6, 1.3


@click.command()
@click.option("--strategies", default=",".join(STRATEGIES), show_default=True, help="Of full and lora.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--imports", is_flag=True, help="Instead list what `train` imports, by `python -X importtime`.")
def main(strategies: str, repeats: int, imports: bool) -> None:
    """Measure seconds of the processor and of the clock, and print their medians and ratios."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = write_texts(folder)
        named = strategies.split(",")
        for strategy in named:  # makes what is to be there
            run(ours(strategy, 0), folder)
            if imports:
                print(summarise_imports(run([sys.executable, "-X", "importtime", *ours(strategy, 1)[1:]], folder)[2], strategy))
        if not imports:
            rows = [
                {"strategy": strategy, "system": system, "repeat": repeat, "cpu": cpu, "wall": wall}
                for repeat in range(1, repeats + 1)
                for strategy in named
                for system, command in {
                    "trainer": theirs(strategy, model),
                    "imports": [sys.executable, "-c", _IMPORTS],
                    "ours": ours(strategy, repeat),
                }.items()
                for cpu, wall, _ in [run(command, folder)]
            ]
            print(summarise(pd.DataFrame(rows)))


def write_texts(folder: Path) -> str:
    """Put the texts into `folder`/texts; returns the model's folder."""
    from pipeline.config import TrainConfig
    from pipeline.data.prepared import prepare
    from pipeline.modeling.model_sources import find_folder

    config = TrainConfig(dataset="rotten_tomatoes", cache_dir=str(folder / "source"))
    prepared, _ = prepare(config.dataset, config)
    (folder / "texts").mkdir()
    for split in ("train", "validation", "test"):
        chosen = prepared.read(split).sample(TEXTS, random_state=0)[["text", "label"]]
        chosen.to_csv(folder / "texts" / f"{split}.csv", index=False)
    return str(find_folder("minilm")[0])


def ours(strategy: str, seed: int) -> list[str]:
    """The command whose start is measured."""
    options = {
        "strategy": strategy,
        "dataset": "texts",
        "split": "official",
        "model": "minilm",
        "epochs": 1,
        "batch-size": 32,
        "seed": seed,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "pipeline", "train", *words]


def theirs(strategy: str, model: str) -> list[str]:
    """The script that it is held against."""
    return [sys.executable, str(_SCRIPT), model, "texts/train.csv", "texts/validation.csv", "out", strategy]


def run(command: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """Processor seconds, wall seconds and standard error of a command, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "HF_HUB_OFFLINE": "1"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, done.stderr


def summarise(table: pd.DataFrame) -> str:
    """A row per strategy and clock: medians, the two ratios (minimum, median, maximum over the rounds), and the goal."""
    rows = []
    for (strategy, clock), found in table.melt(["strategy", "system", "repeat"], ["cpu", "wall"], "clock").groupby(
        ["strategy", "clock"], sort=False
    ):
        seconds = found.pivot(index="repeat", columns="system", values="value")
        median = seconds.median()
        goal = max(_SHARE_OF_TRAINER * median["trainer"], _TIMES_IMPORTS * median["imports"])
        rows.append(
            {
                "strategy": strategy,
                "seconds of": {"cpu": "processor", "wall": "clock"}[str(clock)],
                "Trainer": f"{median['trainer']:.1f}",
                "imports": f"{median['imports']:.1f}",
                "ours": f"{median['ours']:.1f}",
                "ours / Trainer": _spread(seconds["ours"] / seconds["trainer"]),
                "ours / imports": _spread(seconds["ours"] / seconds["imports"]),
                "goal": f"{goal:.1f}: {'met' if median['ours'] <= goal else 'not met'}",
            }
        )
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def _spread(ratios: pd.Series) -> str:
    return f"**{ratios.median():.2f}** ({ratios.min():.2f} to {ratios.max():.2f})"


def summarise_imports(stderr: str, strategy: str, least: float = 20.0) -> str:
    """A row per library: milliseconds that its own modules take, those of others left out, and how many they are.

    Args:
        stderr: What `python -X importtime` wrote.
        least: Milliseconds from which on a library has a row.
    """
    spent, modules = Counter[str](), Counter[str]()
    for microseconds, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", stderr):
        library = name.partition(".")[0]
        spent[library] += int(microseconds)
        modules[library] += 1
    rows = [
        {"library": name, "ms": f"{total / 1000:.0f}", "modules": modules[name]}
        for name, total in spent.most_common()
        if total >= 1000 * least
    ]
    rows.append({"library": "all", "ms": f"{spent.total() / 1000:.0f}", "modules": modules.total()})
    return f"{strategy}\n\n{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n"


if __name__ == "__main__":
    main()
