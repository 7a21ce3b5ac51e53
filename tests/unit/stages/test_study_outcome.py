import math

import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric_name

from pipeline.stages.study.tags import DESCRIPTION, metric_names, note_outcome
from pipeline.tracking.memory import MemoryTracker

STRANGE = [
    "lora (r=16)",
    "a/b",
    "..",
    "감정",
    "Lora_r_16",
    "lora_r_16",
    "x" * 400,
    "x" * 300,
    "é*",
    "full at 5e-4",
    "(?)",
    "head_only",
]


def test_every_name_of_a_row_makes_names_of_metrics() -> None:
    names = metric_names(STRANGE)
    assert len({name.casefold() for name in names}) == len(STRANGE)
    for name in names:
        _validate_metric_name(f"study/{name}/f1_macro_high")
        assert len(f"study/{name}/f1_macro_high") <= 250
        assert "/" not in name
    assert (names[-1], names[3], names[9]) == ("head_only", "감정", "full at 5e-4"), "what is allowed stays as it is"


def test_a_study_holds_figures_verdict_and_where_the_report_is() -> None:
    tracker = MemoryTracker()
    study = tracker.start("study-mine")
    table = pd.DataFrame(
        {
            "strategy": ["full", "lora"],
            "ranking_metric": ["f1_macro", "f1_macro"],
            "accuracy": [0.9, 0.8],
            "f1_macro": [0.9, 0.8],
            "f1_macro_low": [0.8, math.nan],
            "f1_macro_high": [0.95, math.nan],
            "f1_macro_std": [0.01, math.nan],
            "train_seconds": [12.5, 3.0],
        }
    )
    note_outcome(study, table, ["full is *ahead*.", "It costs."], "Report: here.")
    run = tracker.get(study.run_id)
    assert run.metrics == pytest.approx(
        {
            "study/full/f1_macro": 0.9,
            "study/full/f1_macro_low": 0.8,
            "study/full/f1_macro_high": 0.95,
            "study/full/f1_macro_std": 0.01,
            "study/full/train_seconds": 12.5,
            "study/lora/f1_macro": 0.8,
            "study/lora/train_seconds": 3.0,
        }
    )
    assert run.tags[DESCRIPTION] == "full is \\*ahead\\*.\n\nIt costs.\n\nReport: here."


def test_a_long_verdict_leaves_room_for_the_report() -> None:
    tracker = MemoryTracker()
    study = tracker.start("study-mine")
    note_outcome(study, pd.DataFrame({"strategy": ["full"], "f1_macro": [0.9]}), ["word " * 2000], "Report: here.")
    assert len(tracker.get(study.run_id).tags[DESCRIPTION]) <= 4000
    assert tracker.get(study.run_id).tags[DESCRIPTION].endswith("...\n\nReport: here.")


def test_its_figures_are_of_the_metric_that_ranks() -> None:
    tracker = MemoryTracker()
    study = tracker.start("study-mine")
    table = pd.DataFrame({"strategy": ["full"], "ranking_metric": ["nll"], "f1_macro": [0.9], "nll": [0.4], "nll_low": [0.3]})
    note_outcome(study, table, ["full is ahead."], "Report: here.")
    assert tracker.get(study.run_id).metrics == {"study/full/nll": 0.4, "study/full/nll_low": 0.3}
