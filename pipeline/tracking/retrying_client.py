"""An MLflow client that waits for a locked store, and turns errors of the store into ours."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random

from pipeline.errors import ExhaustedStoreError, StoreError, SystemFailureError, hide_credentials, shorten
from pipeline.failures import foreseen
from pipeline.tracking.store_file import database_file

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_PATIENCE = 180.0  # seconds; MLflow itself gives up after 20, which a slow disk or a copy of the file can take


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


def is_locked(error: BaseException) -> bool:
    """Whether SQLite refused because another process holds the file's lock (SQLITE_BUSY)."""
    return "database is locked" in str(error)


class RetryingClient:
    """An `MlflowClient` whose calls are made again while the store's file is locked.

    What SQLite refuses this way it has not begun, or has taken back, so no run is made twice. Once three minutes did not
    help, later calls are refused at once. What else goes wrong is raised at once, too; MLflow's own client asks servers again.

    Raises:
        Exception: What MLflow or SQLAlchemy raised last, after three minutes.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        """Connect to a store, by default that of the environment."""
        self._asking = Retrying(
            retry=retry_if_exception(is_locked),
            stop=stop_after_delay(_PATIENCE),
            wait=wait_random(0.1, 1),  # two processes that wait for a third do not come back at the same moment
            before_sleep=_say,
            reraise=True,
        )
        self._gave_up = False
        self._client = self._asking(MlflowClient, tracking_uri)

    def __getattr__(self, name: str) -> Any:
        """The method of `MlflowClient`."""
        if name.startswith("_"):  # of an object that is being copied, which has no client yet
            raise AttributeError(name)
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        return functools.partial(self.insist, attribute)

    def insist(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call what reads or writes the store, as the client's own methods are called."""
        if self._gave_up:  # whoever closes the run after that error need not wait for as long again
            return function(*args, **kwargs)
        try:
            return self._asking(function, *args, **kwargs)
        except Exception as error:
            self._gave_up = is_locked(error)
            raise


def _say(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        _LOG.warning("Another process has locked the tracking store; waiting for up to three minutes.")
