"""MLflow's client, patient with a database in a file that another process is writing to."""

from __future__ import annotations

import logging
from typing import Any

from mlflow.tracking import MlflowClient
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random

_LOG = logging.getLogger(__name__)
_PATIENCE = 180.0  # seconds; MLflow itself gives up after 20, which a slow disk or a copy of the file can take


def is_locked(error: BaseException) -> bool:
    """Whether SQLite refused because another process holds the file's lock (SQLITE_BUSY)."""
    return "database is locked" in str(error)


class PatientClient:
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
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def ask(*args: Any, **kwargs: Any) -> Any:
            if self._gave_up:  # whoever closes the run after that error need not wait for as long again
                return found(*args, **kwargs)
            try:
                return self._asking(found, *args, **kwargs)
            except Exception as error:
                self._gave_up = is_locked(error)
                raise

        return ask


def _say(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        _LOG.warning("Another process has locked the tracking store; waiting for up to three minutes.")
