"""An MLflow client that waits for a locked store, and turns errors of the store into ours."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random

from pipeline.errors import (
    ExhaustedStoreError,
    StoreAwayError,
    StoreError,
    SystemFailureError,
    hide_credentials,
    shorten,
)
from pipeline.failures import foreseen
from pipeline.interruption import admit_unless_held, held
from pipeline.tracking.database.store_file import database_file
from pipeline.tracking.runs import store_patience

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_LOCKED_SECONDS = 180.0
"""How long a locked file is asked again; MLflow itself gives up after 20, which a slow disk or a copy of the file can take."""
SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def store_errors(verb: str, address: str) -> Iterator[None]:
    """Raise what goes wrong inside as StoreError; `verb` is what was done with the store at `address`: read or written."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise store_error(verb, address, error) from error


def store_error(verb: str, address: str, error: Exception) -> StoreError:
    """The error, with what to do."""
    if refused := re.search(r"failed with error code (401|403)\b", str(error)):  # of which 403 reads like a file's permission
        return StoreError(hide_credentials(f"The tracking store {address} cannot be {verb}: {_WHY_REFUSED[refused[1]]}"))
    failure = foreseen(error)
    if isinstance(failure, SystemFailureError):
        return ExhaustedStoreError(hide_credentials(f"The tracking store {address} cannot be {verb}: {failure}"))
    # What SQLAlchemy says ends with the statement.
    reason = shorten(" ".join(str(error).partition("[SQL:")[0].split()), 500).rstrip(".")
    if is_away(error):
        why = next((said for pattern, said in _WHY_AWAY.items() if re.search(pattern, reason, re.IGNORECASE)), reason)
        message = f"The tracking store {address} cannot be {verb}: {why}."
        return StoreAwayError(hide_credentials(f"{message} {_BRING_BACK}"))
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


_WHY_REFUSED = {
    "401": "it does not know you. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of a user of the server.",
    "403": "it does not let this user do so. Ask who runs it for the permission EDIT, or name another experiment or model.",
}


def is_locked(error: BaseException) -> bool:
    """Whether SQLite refused because another process holds the file's lock (SQLITE_BUSY)."""
    return "database is locked" in str(error)


_AWAY = re.compile(
    r"API request to \S+ failed with exception|too many \d+ error responses|failed with error code (5\d\d|408|429)\b"
    r"|OperationalError.*(connect|closed|shutting down|starting up|terminat)",
    re.IGNORECASE | re.DOTALL,
)


_WHY_AWAY = {
    "connection refused": "the connection was refused",
    "name or service not known|name resolution|nodename nor servname": "no machine of that name is known",
    "timed out|timeout": "it does not answer in time",
    "too many 5|error code 5": "it answers that it has failed (HTTP 5xx)",
}
_BRING_BACK = (
    "Check MLFLOW_TRACKING_URI and that the server is up, and run the same command again: it resumes. "
    "--store-patience-seconds is how long it is waited for."
)


def is_away(error: BaseException) -> bool:
    """Whether a server did not answer, or answered that it cannot at the moment."""
    return _AWAY.search(str(error)) is not None


_SAME_ROW = re.compile(
    r"UNIQUE constraint failed: (datasets|inputs)\."
    r"|duplicate key value violates unique constraint \"(datasets|inputs)_"
)


def _was_slower(error: BaseException) -> bool:
    """Whether another process recorded the same data set in the moment between MLflow's looking for it and its adding it."""
    return _SAME_ROW.search(str(error)) is not None


# MLflow's own client waits for a server for minutes without a word.
_TWICE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class RetryingClient:
    """An `MlflowClient` whose calls are made again while the store's file is locked, or its server is away.

    So are those that two processes made at the same moment, of which MLflow lets one fail.

    What SQLite refuses this way it has not begun, or has taken back, so no run is made twice. Once waiting did not help,
    later calls are refused at once. What else goes wrong is raised at once, too.

    A signal is held back while a database is written or read: within a commit it would leave a connection that keeps the
    database locked, for us as for others.

    Raises:
        Exception: What MLflow or SQLAlchemy raised last: of a locked file after three minutes, of a store that is away after
            `store_patience`.
    """

    def __init__(self, tracking_uri: str | None = None, waits: bool = True) -> None:
        """Connect to a store, by default that of the environment.

        Args:
            waits: For a store that is away; else that is said at once.
        """
        self.waits = waits
        self._asking = Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=self._is_over,
            wait=wait_random(0.1, 1),  # two processes that wait for a third do not come back at the same moment
            before_sleep=_before_waiting,
            reraise=True,
        )
        self._gave_up = False
        self._is_database = not (tracking_uri or mlflow.get_tracking_uri()).startswith(("http", "databricks"))
        self._client = self._ask(MlflowClient, tracking_uri)

    def __getattr__(self, name: str) -> Any:
        """The method of `MlflowClient`."""
        if name.startswith("_"):  # of an object that is being copied, which has no client yet
            raise AttributeError(name)
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        return functools.partial(self.insist, attribute)

    @contextlib.contextmanager
    def asking_once(self) -> Iterator[None]:
        """Raise at once that the store is away."""
        before, self.waits = self.waits, False
        try:
            yield
        finally:
            self.waits = before

    def insist(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call what reads or writes the store, as the client's own methods are called."""
        if self._gave_up:  # whoever closes the run after that error need not wait for as long again
            with environment(_ONCE):
                return self._call(function, *args, **kwargs)
        try:
            return self._ask(function, *args, **kwargs)
        except Exception as error:
            self._gave_up = is_locked(error) or (self.waits and is_away(error))
            raise

    def _ask(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with environment(_TWICE if self.waits else _ONCE):
            answer: T = self._asking(self._call, function, *args, **kwargs)
            return answer

    def _call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if not self._is_database or "artifact" in getattr(function, "__name__", ""):  # artifacts can be large
            return function(*args, **kwargs)
        with held():
            return function(*args, **kwargs)

    def _may_pass(self, error: BaseException) -> bool:
        return is_locked(error) or _was_slower(error) or (self.waits and is_away(error))

    def _is_over(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        limit = store_patience() if error is not None and is_away(error) else _LOCKED_SECONDS
        return (state.seconds_since_start or 0.0) >= limit


def _before_waiting(state: RetryCallState) -> None:
    admit_unless_held()
    error = state.outcome.exception() if state.outcome else None
    if error is None or _was_slower(error):
        return
    if is_locked(error):
        if state.attempt_number == 1:
            _LOG.warning("Another process has locked the tracking store; waiting for up to three minutes.")
    elif state.attempt_number == 1 or time.monotonic() - _Said.when > SECONDS_BETWEEN_LINES:
        _Said.when, left = time.monotonic(), store_patience() - (state.seconds_since_start or 0.0)
        _LOG.warning("The tracking store is away; waiting for it for up to %.0f s.", max(left, 0.0))


class _Said:
    """When it was last said that the store is away."""

    when = 0.0


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, for as long as the block lasts."""
    fresh = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(fresh)
    try:
        yield
    finally:
        for name in fresh:
            os.environ.pop(name, None)
