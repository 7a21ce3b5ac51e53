"""What a dry run says of memory, and that it leaves nothing behind."""

import json

import pytest

from pipeline.config import TrainConfig
from pipeline.tracking.runs import Run


def runs(workspace) -> list[Run]:
    return workspace.tracker.search()


def table(output: str) -> dict[str, list[str]]:
    """First cell -> the others, of the forecast's lines."""
    lines = output.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("Forecast of peak memory"))
    rows = [line.split() for line in lines[start + 3 :]]
    return {row[0]: row[1:] for row in rows if len(row) > 6 and row[1].isdigit()}


def test_a_dry_run_of_train_says_what_would_be_trained_and_makes_no_run(workspace):
    before = len(runs(workspace))
    done = workspace.cli("train", **workspace.options, strategy="lora", dry_run="true")
    assert done.exit_code == 0, done.output
    assert "Would train lora on" in done.output
    assert "parameters train" in done.output
    batch, _, *megabytes = table(done.output)["lora"]
    assert batch == workspace.options["batch_size"]
    *kinds, together = [int(cell.replace(",", "")) for cell in megabytes]
    assert abs(sum(kinds) - together) <= 2, "but for rounding"
    assert done.output.rstrip().endswith("Nothing was run (--dry-run).")
    assert len(runs(workspace)) == before


def test_it_says_what_fits_and_the_largest_batch_that_does(workspace):
    shared = {**workspace.options, "strategy": "full", "dry_run": "true"}
    roomy = workspace.cli("train", **shared, device_memory_gb="8")
    assert table(roomy.output)["full"][-2] == "yes"
    assert int(table(roomy.output)["full"][-1]) >= int(workspace.options["batch_size"])
    tight = workspace.cli("train", **shared, device_memory_gb="0.00001")
    assert table(tight.output)["full"][-2:] == ["no", "none"]


def test_a_study_forecasts_each_strategy_and_names_what_is_not_forecast(workspace):
    options = {**workspace.options_of_data(), "strategies": "full,head_only,tfidf", "dry_run": "true", "device_memory_gb": 8}
    done = workspace.cli("main", **options)
    assert done.exit_code == 0, done.output
    assert set(table(done.output)) == {"full", "head_only"}, done.output
    assert "Not forecast: tfidf: it trains no encoder." in done.output


@pytest.mark.parametrize("stage", ["train", "main"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_memory_gb": "8"}, "--device-memory-gb 8: is asked by a dry run alone. Add --dry-run true"),
        ({"device_memory_gb": "-1", "dry_run": "true"}, "--device-memory-gb: got '-1'"),
        ({"device_memory_gb": "much", "dry_run": "true"}, "--device-memory-gb: got 'much'"),
        ({"device_memory_gb": "inf", "dry_run": "true"}, "--device-memory-gb: got 'inf'"),
    ],
    ids=str,
)
def test_idle_and_impossible_memory_is_refused(workspace, stage, options, message):
    before = len(runs(workspace))
    done = workspace.cli(stage, **workspace.options_of_data(), **options)
    assert done.exit_code == 2
    assert message in done.output
    assert len(runs(workspace)) == before


def test_a_run_does_not_record_what_only_the_command_is_asked(workspace):
    done = workspace.cli("train", **workspace.options, strategy="head_only", dry_run="false")
    assert done.exit_code == 0, done.output
    newest = max(runs(workspace), key=lambda run: run.start_time)
    with workspace.tracker.open_artifact(newest, "config.json") as file:
        recorded = json.loads(file.read_text())
    assert set(recorded) <= set(TrainConfig.__dataclass_fields__)
