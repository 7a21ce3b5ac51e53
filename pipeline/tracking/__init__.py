"""Experiment tracking: `runs` says what the code may ask of a tracker, the other modules answer."""

from pipeline.tracking.runs import RunStore, Tracker


def open_tracker() -> Tracker:
    """The MLflow tracking store of the environment.

    Raises:
        StoreError: It cannot be opened.
    """
    from pipeline.tracking.mlflow_runs import MlflowTracker

    return MlflowTracker()


def import_store() -> None:
    """Import what `open_tracker` imports, for whoever waits for something else meanwhile; nothing is opened or made."""
    import mlflow

    import pipeline.tracking.mlflow_runs  # noqa: F401
    from pipeline.tracking.database.store_file import database_file

    if database_file(mlflow.get_tracking_uri()) is not None:
        import alembic.command  # noqa: F401
        import mlflow.store.tracking.sqlalchemy_store


def open_to_read() -> RunStore:
    """The same store for whoever only reads: one that does not exist is not made, and stands for an empty one.

    Raises:
        StoreError: It cannot be opened.
    """
    from pipeline.tracking.memory import MemoryTracker
    from pipeline.tracking.mlflow_runs import store_exists

    return open_tracker() if store_exists() else MemoryTracker()
