"""The shared view of an experiment asks for what runs have."""

import json
import re
from pathlib import Path

from pipeline.tracking.tags import VIEW, experiment_tags

ROOT = Path(__file__).parents[3]


def test_its_columns_are_documented_metrics_and_options():
    view = json.loads(experiment_tags("f1_macro")[f"mlflow.sharedViewState.{VIEW}"])
    names = [re.fullmatch(r"(metrics|params)\.`(.+)`", column).groups() for column in view["selectedColumns"]]
    assert len(names) > 5
    runs = (ROOT / "docs" / "reference" / "runs.md").read_text(encoding="utf-8")
    options = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    for kind, name in names:
        assert f"`{name}`" in runs if kind == "metrics" else f"`--{name.replace('_', '-')}" in options, name
    assert view["orderByKey"] == view["selectedColumns"][0]
    assert view["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "strategy"}]


def test_the_documented_address_opens_it():
    page = (ROOT / "docs" / "how-to" / "mlflow.md").read_text(encoding="utf-8")
    assert f"?viewStateShareKey={VIEW}&" in page
