"""How much a split flatters each strategy: the same study on a random split and on splits without its overlap.

python -m benchmarks.flattery --dataset sst2 --strategies head_only,partial,full --seeds 3 --epochs 1

What is not an option here goes to `main` as it is. A study that was made before is reused.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd

from pipeline.comparison.row_names import label_rows
from pipeline.config import MainConfig
from pipeline.stages import main as study
from pipeline.stages.configure import configure


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--splits", default="random,grouped,official", show_default=True, help="The first is held against the others.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("flattery.csv"), show_default=True)
@click.pass_context
def main(context: click.Context, splits: str, output: Path) -> None:
    """Run the study on every split; write a row per split and strategy into --output, and print what the first one adds."""
    if len(context.args) % 2:
        raise click.UsageError("Give options of main, each with its value.")
    given = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(context.args)] * 2, strict=True)}
    measured = pd.concat([run_study(split, given) for split in splits.split(",")], ignore_index=True)
    measured.to_csv(output, index=False)
    print(tabulate(measured).to_markdown(index=False))


def run_study(split: str, options: dict[str, str]) -> pd.DataFrame:
    """The rows of the study's table."""
    result = study.run(configure(MainConfig, {**options, "split": split}))
    if result is None:
        raise click.UsageError("A dry run measures nothing.")
    table = result.comparison.table
    columns = [name for name in table if str(name).startswith(("f1_macro", "accuracy"))]
    return table.assign(split=split, row=list(label_rows(table)))[["split", "row", "seeds", *columns]]


def tabulate(measured: pd.DataFrame) -> pd.DataFrame:
    """Macro F1 in percent by strategy and split, and how many points the first split is above each other one."""
    first, *others = measured["split"].drop_duplicates()
    by_row = {name: rows.set_index("split") for name, rows in measured.groupby("row", sort=False)}
    return pd.DataFrame(
        [
            {"strategy": name}
            | {split: f"{100 * rows.loc[split, 'f1_macro']:.1f}" for split in (first, *others)}
            | {f"{first} - {other}": say_difference(rows.loc[first], rows.loc[other]) for other in others}
            for name, rows in by_row.items()
        ]
    )


def say_difference(one: pd.Series, other: pd.Series) -> str:
    """In points, with the interval that follows from those of two independent means (MOVER; Zou and Donner 2008)."""
    difference = one["f1_macro"] - other["f1_macro"]
    down = np.hypot(one["f1_macro"] - one["f1_macro_low"], other["f1_macro_high"] - other["f1_macro"])
    up = np.hypot(one["f1_macro_high"] - one["f1_macro"], other["f1_macro"] - other["f1_macro_low"])
    return f"{100 * difference:+.1f} ({100 * (difference - down):+.1f} to {100 * (difference + up):+.1f})"


if __name__ == "__main__":
    main()
