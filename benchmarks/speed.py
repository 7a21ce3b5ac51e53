"""How many times faster than the usual scripts: all systems in turn, in processes of their own, on an idle machine.

python -m benchmarks.speed --dataset rotten_tomatoes --repeats 3 --output results
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd

from benchmarks.measure import RATES, SYSTEMS
from benchmarks.shapes import SHAPES, model_of

LABELS = {"run_glue": "A: padded to 128", "trainer": "B: padded per batch", "ours": "ours"}


@click.command()
@click.option(
    "--model", default="minilm", show_default=True, help=f"As train takes it, or {', '.join(SHAPES)}: random weights."
)
@click.option("--dataset", default="rotten_tomatoes", show_default=True)
@click.option("--rows", default=3200, show_default=True, help="Training rows; 100 steps at batch size 32.")
@click.option("--peer-steps", type=int, help="Stop the peers after so many steps; all rows if not given.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--strategies", default=",".join(RATES), show_default=True)
@click.option("--cache-dir", default=".cache", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(
    model: str, dataset: str, rows: int, peer_steps: int | None, repeats: int, strategies: str, cache_dir: str, output: Path
) -> None:
    """Measure every strategy with every system, and write speed.csv and speed.md into --output."""
    options: dict[str, object] = {"--dataset": dataset, "--rows": rows, "--cache-dir": cache_dir}
    if peer_steps:
        options["--steps"] = peer_steps
    with model_of(model) as address:
        measured = [
            measured_in_turn(repeat, strategy, system, {**options, "--model": address})
            for repeat in range(repeats)
            for strategy in strategies.split(",")
            for system in SYSTEMS
        ]
    table = pd.DataFrame(measured)
    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / "speed.csv", index=False)
    lines = [f"{model}, {rows} rows of {dataset}. {describe_machine()}", "", summarise(table)]
    (output / "speed.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def measured_in_turn(repeat: int, strategy: str, system: str, options: dict[str, object]) -> dict[str, object]:
    """One measurement, said aloud."""
    found = measure(system, strategy, options)
    print(f"repeat {repeat + 1}: {strategy:10} {system:10} {1000 * found['seconds_per_step']:8.1f} ms per step", flush=True)
    return {"repeat": repeat, **found}


def measure(system: str, strategy: str, options: dict[str, object]) -> dict[str, float]:
    """One measurement in a process of its own."""
    arguments = [str(part) for pair in options.items() for part in pair if part != ""]
    command = [sys.executable, "-m", "benchmarks.measure", system, strategy, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def summarise(table: pd.DataFrame) -> str:
    """A row per strategy: milliseconds per step (median), ratios (minimum, median, maximum over the repeats), memory."""
    rows = []
    for strategy, found in table.groupby("strategy", sort=False):
        seconds = found.pivot(index="repeat", columns="system", values="seconds_per_step")
        memory = found.groupby("system")["added_mb"].median()
        row: dict[str, object] = {"strategy": strategy}
        row |= {f"{LABELS[system]}, ms": f"{1000 * seconds[system].median():.1f}" for system in SYSTEMS}
        for system in ("run_glue", "trainer"):
            ratio = (seconds[system] / seconds["ours"]).sort_values()
            row[f"{LABELS[system][0]} / ours"] = f"**{ratio.median():.1f}** ({ratio.iloc[0]:.1f} to {ratio.iloc[-1]:.1f})"
        row["once, s"] = f"{found[found.system == 'ours']['one_off_seconds'].median():.1f}"
        row["memory A / ours, MB"] = f"{memory['run_glue']:.0f} / {memory['ours']:.0f}"
        rows.append(row)
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def describe_machine() -> str:
    """What the figures depend on."""
    import torch
    import transformers

    from pipeline.tracking.provenance import hardware
    from pipeline.training.precision import bf16_speedup_on_cpu, choose_precision

    return (
        f"{hardware()}; Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}; "
        f"a linear layer runs {bf16_speedup_on_cpu():.2f} times as fast in bf16 as in fp32, "
        f"so `auto` takes {choose_precision('auto')}."
    )


if __name__ == "__main__":
    main()
