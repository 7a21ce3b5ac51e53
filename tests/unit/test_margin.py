"""What is trained to see a recipe's margin, and how it is tabulated."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.margin import KEY, NATIVE, Training, append, configured, plan, read_measured, tabulate


def test_every_row_is_trained_with_all_seeds_other_rates_and_some_with_other_rounding() -> None:
    trainings = plan(["full", "prefix"], 3, [0.5, 2.0], ["avx2"], ["prefix"])
    assert len(trainings) == len(set(trainings)) == 2 * (3 + 2) + 1
    assert trainings[:2] == [Training("full", 1.0, 0), Training("prefix", 1.0, 0)], "something of every row early"
    assert [t for t in trainings if t.cpu_capability != NATIVE] == [Training("prefix", 1.0, 0, "avx2")]


def test_rate_and_seed_are_counted_from_the_recipes() -> None:
    recipes = configured(Training("prefix", 1.0, 0), {"recipe": "quickstart"})
    other = configured(Training("prefix", 0.5, 3), {"recipe": "quickstart"})
    assert other.learning_rate == pytest.approx(recipes.learning_rate / 2)
    assert other.seed == recipes.seed + 3
    assert (other.epochs, other.batch_size, other.strategy_args) == (recipes.epochs, recipes.batch_size, recipes.strategy_args)


def row(
    entry: str, factor: float, seed: int, accuracy: float, learned: bool, cpu_capability: str = NATIVE
) -> dict[str, object]:
    key = dict(zip(KEY, (f"s{factor}", "c", entry, seed, cpu_capability, 1), strict=True))
    return {**key, "factor": factor, "learning_rate": 0.01 * factor, "accuracy": accuracy, "learned": learned}


def test_what_is_in_the_file_is_read_back_by_its_key_and_tabulated(tmp_path: Path) -> None:
    file = tmp_path / "margin.csv"
    assert read_measured(file) == {}
    rows = [
        row("prefix", 1.0, 0, 0.77, True),
        row("prefix", 1.0, 1, 0.50, False),
        row("prefix", 0.5, 0, 0.75, True),
        row("prefix", 1.0, 0, 0.76, True, "avx2"),
    ]
    for one in rows:
        append(file, one)
    measured = read_measured(file)
    assert list(measured) == [tuple(str(one[name]) for name in KEY) for one in rows]
    header, _, line = tabulate(pd.DataFrame(list(measured.values()))).splitlines()
    assert [cell.strip() for cell in header.split("|")[1:-1]] == [
        "strategy",
        "rate",
        "at the rate",
        "0.5 times the rate",
        "avx2",
    ]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["prefix", "0.01", "0.500 to 0.770; 1 of 2 learned", "0.750", "0.760"]
