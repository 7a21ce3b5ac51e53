"""What each row of the table is called: entry or strategy, with what tells it from the others."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from pipeline.tracking.run_kinds import EXTERNAL, name_with_model
from pipeline.tracking.runs import Run

# Column -> how it stands in the name of a row that shares its name with others.
_TOLD_APART_BY = {
    "objective": "{}, {}",
    "pooling": "{}, {}",
    "changed_arguments": "{} ({})",
    "processes": "{} by {} process(es)",
    "learning_rate": "{} at {}",
    "train_size": "{} on {} texts",
    "epoch_size": "{}, {} texts an epoch",
    "max_train_samples": "{} on {} examples",
    "epochs": "{} for {} epochs",
    "batch_size": "{}, batches of {}",
    "compute_dtype": "{}, {}",
    "dropout": "{}, dropout {}",
    "max_length": "{}, length {}",
    "long_texts": "{}, {}",
    "window_overlap": "{}, overlap {}",
    "optimizer": "{}, {}",
    "weight_decay": "{}, decay {}",
    "warmup_ratio": "{}, warm-up {}",
    "lr_scheduler_type": "{}, {} schedule",
    "loss": "{}, {}",
    "focal_gamma": "{}, gamma {}",
    "class_weights": "{}, weights {}",
    "label_smoothing": "{}, smoothing {}",
    "decision_threshold": "{}, threshold {}",
    "tuned": "{}, {}",
}


def label_rows(table: pd.DataFrame) -> list[str]:
    """A name for every row: entry or strategy, with what tells it from others of that name; their number where nothing does."""
    entries = table["entry"] if "entry" in table else [""] * len(table)
    names = [str(entry or strategy) for entry, strategy in zip(entries, table["strategy"], strict=True)]
    if "model" in table:
        names = _with_models(names, table)
    for column, form in _TOLD_APART_BY.items():
        if column in table:
            values = list(map(str, table[column]))
            by_name = {name: {value for other, value in zip(names, values, strict=True) if other == name} for name in names}
            names = [
                form.format(name, value) if len(by_name[name]) > 1 and value else name
                for name, value in zip(names, values, strict=True)
            ]
    return [f"{name} #{names[: place + 1].count(name)}" if names.count(name) > 1 else name for place, name in enumerate(names)]


def _with_models(names: list[str], table: pd.DataFrame) -> list[str]:
    """The names with the model behind, where several were trained; one from elsewhere is told by its arguments."""
    ours = (table["strategy"] != EXTERNAL) & (table["model"] != "")
    if table["model"][ours].nunique() < 2:
        return names
    return [
        name_with_model(name, str(model)) if own else name for name, model, own in zip(names, table["model"], ours, strict=True)
    ]


def group_runs(table: pd.DataFrame, runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Name of each row of the table, as `label_rows` gives it -> its runs."""
    by_id = {run.run_id: run for run in runs}
    return {
        name: [by_id[run_id] for run_id in ids.split()] for name, ids in zip(label_rows(table), table["run_ids"], strict=True)
    }
