"""What a search of 36 points for head_only costs: ours, trained at once, against the usual scripts, point by point.

python -m benchmarks.search --dataset sst2 --rows 8000 --peer-steps 50 --repeats 3

The peers do not run the search, which would take hours: their steps are timed at each batch size and multiplied by the number
of steps that the points have.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import click
import pandas as pd

from benchmarks.measure import RATES
from benchmarks.shapes import model_of
from benchmarks.speed import LABELS, describe_machine, measure

PEERS = ("run_glue", "trainer")
SPACE = {
    "learning_rate": [RATES["head_only"] / 3, RATES["head_only"], RATES["head_only"] * 3],
    "batch_size": [16, 32, 64],
    "dropout": [0.1, 0.2],
    "epochs": [2, 4],
}
"""36 points: the SST-2 study's grid with rates that suit a head, and two of its three numbers of epochs."""


@click.command()
@click.option("--model", default="minilm", show_default=True)
@click.option("--dataset", default="rotten_tomatoes", show_default=True)
@click.option("--rows", default=3200, show_default=True, help="Training rows.")
@click.option("--peer-steps", default=25, show_default=True, help="Steps that are timed of a peer at each batch size.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--cache-dir", default=".cache", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def main(model: str, dataset: str, rows: int, peer_steps: int, repeats: int, cache_dir: str, output: Path) -> None:
    """Measure the search with every system, and write search.csv and search.md into --output."""
    from benchmarks import measure as measuring
    from pipeline.stages.processes.workers import WorkerProcesses

    points = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    processes, measured = WorkerProcesses(), []
    with model_of(model) as address:
        options = {"--model": address, "--dataset": dataset, "--rows": rows, "--cache-dir": cache_dir}
        for repeat in range(repeats):
            for peer in PEERS:
                seconds = 0.0
                for size in SPACE["batch_size"]:
                    steps = sum(point["epochs"] * math.ceil(rows / size) for point in points if point["batch_size"] == size)
                    timed = {**options, "--batch-size": int(size), "--steps": min(peer_steps, math.ceil(rows / size))}
                    seconds += measure(peer, "head_only", timed)["seconds_per_step"] * steps
                measured.append({"repeat": repeat, "system": peer, "train_seconds": seconds})
            settings = {"model": address, "dataset": dataset, "max_train_samples": rows, "cache_dir": cache_dir}
            measured.append({"repeat": repeat, "system": "ours", **processes.call(measuring.measure_search, points, settings)})
            for found in measured[-len(PEERS) - 1 :]:
                print(f"repeat {repeat + 1}: {found['system']:10} {found['train_seconds']:10.1f} s", flush=True)
    table = pd.DataFrame(measured)
    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / "search.csv", index=False)
    lines = [f"{model}, {rows} rows of {dataset}. {describe_machine()}", "", summarise(table, len(points))]
    (output / "search.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def summarise(table: pd.DataFrame, points: int) -> str:
    """One row: seconds of training (medians), ratios (with minimum and maximum over the repeats), what ours took besides.

    With evaluation and recorded runs it is the last repeat's, when the frozen layers' states lie in the cache.
    """
    seconds = table.pivot(index="repeat", columns="system", values="train_seconds")
    ours = table[table["system"] == "ours"].iloc[-1]
    row: dict[str, object] = {"points": points}
    row |= {f"{LABELS[peer]}, s (extrapolated)": f"{seconds[peer].median():,.0f}" for peer in PEERS}
    row["ours, s"] = f"{seconds['ours'].median():.2f}"
    for peer in PEERS:
        ratio = (seconds[peer] / seconds["ours"]).sort_values()
        row[f"{LABELS[peer][0]} / ours"] = f"**{ratio.median():,.0f}** ({ratio.iloc[0]:,.0f} to {ratio.iloc[-1]:,.0f})"
    row["once, s"] = f"{ours['one_off_seconds']:.1f}"
    row["with evaluation, s"] = f"{ours['grid_seconds']:.1f}"
    row["with runs recorded, s"] = f"{ours['wall_seconds']:.1f}"
    return str(pd.DataFrame([row]).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
