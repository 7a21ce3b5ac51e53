"""What a tracking store, or the place of its artifacts, answers instead of doing what was asked, said as an error of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mlflow.exceptions import MlflowException

from pipeline.errors import ExhaustedStoreError, StoreError, SystemFailureError, hide_credentials, shorten
from pipeline.failures import foreseen
from pipeline.tracking.patient_client import is_locked
from pipeline.tracking.store_file import database_file


@contextlib.contextmanager
def store_errors(verb: str, address: str) -> Iterator[None]:
    """Raise what goes wrong inside as StoreError; `verb` is what was done with the store at `address`: read or written."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise store_error(verb, address, error) from error


def store_error(verb: str, address: str, error: Exception) -> StoreError:
    """The error, with what to do."""
    failure = foreseen(error)
    if isinstance(failure, SystemFailureError):
        return ExhaustedStoreError(hide_credentials(f"The tracking store {address} cannot be {verb}: {failure}"))
    # What SQLAlchemy says ends with the statement.
    reason = shorten(" ".join(str(error).partition("[SQL:")[0].split()), 500).rstrip(".")
    if is_locked(error):
        advice = "Another process has locked it for minutes: end that process, or use a tracking server."
    elif "mlflow db upgrade" in reason:  # says itself what to do
        advice = f"Its address is {address}."
    elif verb == "written" and isinstance(error, OSError) and error.errno:  # the system's own, not what a server answered
        advice = "Is the folder of the artifacts there, and may you write to it?"
    elif database_file(address) is not None:
        advice = "Check MLFLOW_TRACKING_URI, and that the file is a store of MLflow's."
    else:
        advice = "Check MLFLOW_TRACKING_URI and that the server is up."
    return StoreError(hide_credentials(f"The tracking store {address} cannot be {verb}: {reason}. {advice}"))
