"""Experiment tracking: `runs` says what the code may ask of a tracker, the other modules answer."""

from pipeline.tracking.runs import Tracker


def open_tracker() -> Tracker:
    """The MLflow tracking store of the environment.

    Raises:
        StoreError: It cannot be opened.
    """
    from pipeline.tracking.mlflow_runs import MlflowTracker

    return MlflowTracker()
