"""The search beside bertuner: what it refuses, what it gives both, what it counts, and what it says."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

from benchmarks.peer_search import EPOCHS, PEER, check_peer, shared_settings, summarise
from benchmarks.peer_seeds import PEER as PEER_SEEDS
from benchmarks.peer_seeds import summarise as summarise_seeds

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("python", [sys.executable, "nowhere/bin/python"])
def test_a_python_without_bertuner_is_refused_with_what_to_install(python: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        check_peer(python)
    number = version("torch").partition("+")[0]  # a build such as +cpu is not on the index
    assert raised.value.message.startswith(f"{python} is no Python that has {PEER}.")
    assert f"bin/pip install {PEER} torch=={number} transformers==" in raised.value.message
    assert raised.value.exit_code == 2


def test_bertuner_is_given_what_our_commands_take(tmp_path: Path) -> None:
    settings = shared_settings(tmp_path)
    assert settings["patience"] == EPOCHS == 6
    assert (settings["low"], settings["high"]) == (1e-5, 2e-4)
    assert {name: settings[name] for name in ("batch_size", "dropout", "max_length", "scheduler", "metric", "seed")} == {
        "batch_size": 32,
        "dropout": 0.1,
        "max_length": 128,
        "scheduler": "linear",
        "metric": "accuracy",
        "seed": 42,
    }


def test_processor_time_of_a_process_that_outlives_its_parent_is_counted(tmp_path: Path) -> None:
    busy = "import os, time\nif os.fork() == 0:\n    while time.process_time() < 0.5: pass\n    os._exit(0)"
    script = (
        "import sys; from pathlib import Path; from benchmarks.peer_search import adopt_orphans, run; adopt_orphans(); "
        "print(run([sys.executable, '-c', sys.argv[1]], Path(sys.argv[2]))[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, busy, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) >= 0.5


def test_ratios_are_of_rounds_and_scores_of_the_first() -> None:
    gold = np.array([0, 1] * 50)
    wrong = gold.copy()
    wrong[:10] = 1 - wrong[:10]
    rows = [
        {"round": number, "system": system, "wall": wall, "cpu": wall, "final": 10.0, "rate": 1e-4, "predicted": predicted}
        for number, theirs, ours in ((1, 100.0, 20.0), (2, 90.0, 30.0))
        for system, wall, predicted in (("bertuner", theirs, wrong), ("ours", ours, gold))
    ]
    shown = summarise(pd.DataFrame(rows), gold)
    times = ("95.0", "25.0", "**4.0** (3.0 to 5.0)"), ("85.0", "25.0", "**3.6** (2.7 to 4.5)")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()]
    assert lines[2:5] == [
        ["clock", *times[0]],
        ["clock, without bertuner's final training", *times[1]],
        ["processor", *times[0]],
    ]
    tested = lines[-1]
    assert tested[0] == "0.9000"
    assert tested[3] == "no", "all texts right in every resample: 0.9 is not in an interval of one point"
    assert "+10.0 (+4.1 to +15.9)" in tested


def test_means_of_seeds_are_compared_with_an_interval() -> None:
    scores = {PEER_SEEDS: (0.80, 0.82, 0.81), "ours, bf16": (0.79, 0.80, 0.81)}
    rows = [{"system": name, "seed": seed, "f1": f1} for name, found in scores.items() for seed, f1 in enumerate(found)]
    shown = summarise_seeds(pd.DataFrame(rows)).splitlines()
    assert shown[-1].split("|")[1:-1] == [
        " ours, bf16     ",
        " 79.0 80.0 81.0     ",
        " 80.00  ",
        " 1.00                 ",
        " -1.00 (-3.27 to +1.27) ",
    ]
