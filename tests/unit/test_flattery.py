"""What one split adds to the scores of another."""

import pandas as pd
import pytest

from benchmarks.flattery import say_difference, tabulate


def test_the_difference_of_two_means_has_the_interval_that_follows_from_theirs() -> None:
    measured = pd.DataFrame(
        {
            "split": ["random", "random", "grouped", "grouped"],
            "row": ["full", "head_only", "full", "head_only"],
            "f1_macro": [0.90, 0.70, 0.85, 0.70],
            "f1_macro_low": [0.87, 0.66, 0.81, 0.67],
            "f1_macro_high": [0.93, 0.74, 0.89, 0.74],
        }
    )
    # 5 points; down by the root of 3^2 + 4^2, up by that of 3^2 + 4^2
    assert say_difference(measured.iloc[0], measured.iloc[2]) == "+5.0 (+0.0 to +10.0)"
    table = tabulate(measured).set_index("strategy")
    assert table.loc["full"].tolist() == ["90.0", "85.0", "+5.0 (+0.0 to +10.0)"]
    # down by the root of 4^2 + 4^2, up by that of 4^2 + 3^2
    assert table.loc["head_only", "random - grouped"] == "+0.0 (-5.7 to +5.0)"


@pytest.mark.parametrize("given", [["--seeds"], ["--seeds", "2", "left over"]], ids=str)
def test_options_without_a_value_are_refused(given: list[str]) -> None:
    from click.testing import CliRunner

    from benchmarks.flattery import main

    result = CliRunner().invoke(main, given)
    assert result.exit_code == 2
    assert "each with its value" in result.output
