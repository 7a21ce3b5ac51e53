"""What a training costs as the data grows, and as the encoder deepens; with a picture.

python -m benchmarks.scaling --dataset sst2 --rows 1000,4000,16000
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.shapes import make_encoder
from benchmarks.speed import describe_machine, measure

STRATEGIES = "full,lora,partial,head_only"


@click.command()
@click.option("--dataset", default="rotten_tomatoes", show_default=True)
@click.option("--rows", default="1000,2000,4000", show_default=True, help="Training rows, separated by commas.")
@click.option("--depths", default="2,4,6,8,12", show_default=True, help="Layers of an encoder with random weights.")
@click.option("--depth-rows", default=640, show_default=True, help="Training rows for the depths.")
@click.option("--strategies", default=STRATEGIES, show_default=True)
@click.option("--cache-dir", default=".cache", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(dataset: str, rows: str, depths: str, depth_rows: int, strategies: str, cache_dir: str, output: Path) -> None:
    """Measure one epoch for every size, and write scaling.csv and scaling.png into --output."""
    output.mkdir(parents=True, exist_ok=True)
    common = {"--dataset": dataset, "--cache-dir": cache_dir}
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        encoders = {
            depth: make_encoder(Path(scratch) / f"{depth}-layers", num_hidden_layers=depth)
            for depth in map(int, depths.split(","))
        }
        for strategy in strategies.split(","):
            sizes = [("rows", count, {"--rows": count}) for count in map(int, rows.split(","))]
            sizes += [("layers", depth, {"--rows": depth_rows, "--model": path}) for depth, path in encoders.items()]
            found += [measured(axis, value, strategy, {**common, **options}) for axis, value, options in sizes]
    table = pd.DataFrame(found)
    table.to_csv(output / "scaling.csv", index=False)
    draw(table, depth_rows).savefig(output / "scaling.png", dpi=120)
    print(describe_machine())


def measured(axis: str, value: int, strategy: str, options: dict[str, object]) -> dict[str, object]:
    """Seconds of one epoch, once-only ones included."""
    one = measure("ours", strategy, options)
    seconds = one["seconds_per_step"] * one["steps"] + one["one_off_seconds"]
    if axis == "rows":  # there may be fewer than were asked for
        value = int(one["examples"])
    print(f"{strategy:10} {value:6} {axis}: {seconds:8.1f} s", flush=True)
    return {"axis": axis, "value": value, "strategy": strategy, "seconds": seconds, "added_mb": one["added_mb"]}


def draw(table: pd.DataFrame, depth_rows: int) -> Figure:
    """Seconds against rows and against layers, a line a strategy."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    titles = {"rows": "one epoch, by training rows (both axes logarithmic)", "layers": f"{depth_rows:,} rows, by layers"}
    for axes, (axis, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        part = table[table["axis"] == axis]
        for strategy, line in part.groupby("strategy", sort=False):
            axes.plot(line["value"], line["seconds"], marker="o", label=strategy)
        if axis == "rows":
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("training rows" if axis == "rows" else "layers")
        axes.set_ylabel("seconds, frozen layers' once included")
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
