"""The view of an experiment that MLflow's UI opens by `?viewStateShareKey=strategies`: trainings, grouped by strategy.

The UI keeps a view that somebody shares as a tag of the experiment: JSON, which it reads compressed or plain. Nothing documents
it; a test opens the page in a browser (MLflow 3.17.2).
"""

from __future__ import annotations

import json

KEY = "strategies"
TAG = f"mlflow.sharedViewState.{KEY}"
_COLUMNS = (
    "metrics.`val/f1_macro`",
    "metrics.`test/f1_macro`",
    "metrics.`test/accuracy`",
    "metrics.`model/trainable_percent`",
    "metrics.`cost/train_seconds`",
    "metrics.`cost/peak_cuda_mb`",
    "metrics.`cost/peak_rss_mb`",
    "params.`learning_rate`",
    "params.`seed`",
)


def describe_view() -> str:
    """The tag's value: finished trainings, a group a strategy with means over its runs, the best by validation score first."""
    return json.dumps(
        {
            "selectedColumns": _COLUMNS,
            "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "strategy"}]},
            "searchFilter": "tags.stage = 'train' AND attributes.status = 'FINISHED'",
            "orderByKey": _COLUMNS[0],
            "orderByAsc": False,
        }
    )
