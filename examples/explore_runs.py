"""Ask the tracking store what was learnt: `python examples/explore_runs.py` in the folder of a study.

Prints the trained runs, draws what quality costs into `front.png`, and asks the champion of the model registry for labels,
if there is one.
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from adjustText import adjust_text

from pipeline import load_results

NOTHING = "No finished training with a macro F1 is in this store. `python -m pipeline main` starts a study."


def read_rows(dataset: str | None) -> pd.DataFrame:
    """Means over all runs of a strategy on a model: validation score, trainable share and training time.

    Args:
        dataset: Whose finished runs to read, as they name it; that of the newest by default.
    """
    runs = load_results()
    if "val/f1_macro" not in runs:
        raise SystemExit(NOTHING)
    runs = runs[(runs["stage"] == "train") & (runs["status"] == "FINISHED") & runs["reproduces"].isna()]
    runs = runs.dropna(subset="val/f1_macro")
    if runs.empty:
        raise SystemExit(NOTHING)
    runs = runs[runs["dataset"] == (dataset or runs.iloc[0]["dataset"])]
    groups = runs.groupby(["strategy", runs["model"].fillna("")])
    rows = groups[["val/f1_macro", "model/trainable_percent", "cost/train_seconds"]].mean()
    rows.insert(0, "runs", groups.size())
    several = len({model for _, model in rows.index} - {""}) > 1  # a baseline has none
    rows.index = pd.Index([" ".join(name).strip() if several else name[0] for name in rows.index], name="strategy")
    return rows.sort_values("val/f1_macro", ascending=False)


def find_front(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other one beats at both, score and training time; the quickest first."""
    ordered = rows.sort_values("cost/train_seconds")
    return ordered[ordered["val/f1_macro"] > ordered["val/f1_macro"].cummax().shift(fill_value=-1)]


def draw_front(rows: pd.DataFrame, path: str) -> None:
    """Validation score against training time, with the front as a line."""
    front = find_front(rows)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.scatter(rows["cost/train_seconds"], rows["val/f1_macro"])
    axes.step(front["cost/train_seconds"], front["val/f1_macro"], where="post", color="0.6", zorder=0)
    axes.set(xscale="log", xlabel="training time (s)", ylabel="macro F1, validation")
    axes.margins(0.12)
    x, y = rows["cost/train_seconds"], rows["val/f1_macro"]
    adjust_text([axes.text(*point, str(name)) for name, *point in zip(rows.index, x, y, strict=True)], ax=axes)
    figure.savefig(path, dpi=150)


def ask_champion(texts: list[str]) -> pd.DataFrame | None:
    """The answers of the newest registered model that has the alias `champion`; None where there is none."""
    models = mlflow.MlflowClient().search_registered_models(order_by=["last_updated_timestamp DESC"])
    for model in models:
        if "champion" in model.aliases:
            return mlflow.pyfunc.load_model(f"models:/{model.name}@champion").predict(texts)
    return None


def main() -> None:
    """Read, draw, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", help="as the runs name it; the newest run's by default")
    parser.add_argument("--picture", default="front.png", help="where to draw to (default %(default)s)")
    parser.add_argument(
        "texts", nargs="*", default=["a gripping film", "two hours of nothing"], help="what to ask the champion"
    )
    given = parser.parse_args()
    rows = read_rows(given.dataset)
    print(rows.round(4).to_string())
    draw_front(rows, given.picture)
    print(f"Drawn: {given.picture}")
    answers = ask_champion(given.texts)
    print("No champion yet: python -m pipeline register --help" if answers is None else answers.to_string())


if __name__ == "__main__":
    main()
