"""What a user's names do to a terminal: nothing."""

import csv

import pytest

from pipeline.errors import printable

ESCAPE, TURN = "\x1b[31m", "\u202e"


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / f"re{ESCAPE}views.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"te{ESCAPE}xt", f"label{TURN}"])
        for row in range(60):
            name = (f"good{ESCAPE}", f"bad{TURN}\r\nError: made up")[row % 2]
            writer.writerow([f"a {('fine', 'dull')[row % 2]} film {ESCAPE} {row}", name])
    return path


def shown(result):
    """The output, which must be free of orders."""
    lines = result.output.split("\n")
    assert [line for line in lines if printable(line) != line] == []
    assert "\\x1b[31m" in result.output
    assert "Error: made up" not in lines
    return result.output


def test_names_of_files_columns_and_classes_are_shown_and_not_obeyed(workspace, dataset):
    columns = {"text_column": f"te{ESCAPE}xt", "label_column": f"label{TURN}"}
    options = {**workspace.options, "dataset": dataset, **columns, "strategy": "head_only"}
    result = workspace.cli("train", **options)
    assert result.exit_code == 0, result.output
    assert "good\\x1b[31m" in shown(result)
    run_id = workspace.tracker.search()[0].run_id
    shown_after = [workspace.cli("evaluate", run_id=run_id), workspace.cli("compare", run_ids=run_id)]
    for result in shown_after:
        assert result.exit_code == 0, result.output
        assert [line for line in result.output.split("\n") if printable(line) != line] == []


def test_errors_are_shown_and_not_obeyed(workspace, dataset):
    of_data = {"model": workspace.options["model"], "dataset": dataset}
    for options in (
        {},
        {"text_column": f"no{ESCAPE}ne"},
        {"text_column": f"te{ESCAPE}xt", "label_column": f"label{TURN}", "labels": f"good{ESCAPE},x"},
        {"encoding": f"u{ESCAPE}"},
    ):
        result = workspace.cli("prepare_data", **{**of_data, **options})
        assert result.exit_code == 2, result.output
        shown(result)
    for unknown in ({f"no{ESCAPE}option": "1"}, {"split": f"ra{ESCAPE}ndom"}):
        result = workspace.cli("prepare_data", **{**of_data, **unknown})
        assert result.exit_code == 2
        shown(result)
