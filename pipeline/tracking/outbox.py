"""Metrics by step on their way to a run: kept while the tracking store is away, and delivered later, in order and once."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping

from pipeline.errors import StoreAwayError

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_TRIES = 5.0
SECONDS_BETWEEN_LINES = 30.0


class Outbox:
    """Hands metrics on without ever waiting; what is not delivered when its process dies is made again from the checkpoint."""

    def __init__(self, write: Callable[[Mapping[str, float], int, int], None], patience: float) -> None:
        """Begin with nothing to deliver.

        Args:
            write: Records metrics of a step and a time, in milliseconds since 1970; asks the store but once. What was recorded
                already it leaves as it is, since an answer may be lost where the request was not.
            patience: Seconds after which `check` raises.
        """
        self._write, self._patience = write, patience
        self._kept: deque[tuple[Mapping[str, float], int, int]] = deque()
        self._away: StoreAwayError | None = None
        self._since = self._next = self._last_line = 0.0

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Deliver metrics, or keep them until the store is back."""
        self._kept.append((dict(metrics), step, time.time_ns() // 1_000_000))
        if self._away is None or time.monotonic() >= self._next:
            self.deliver()

    def deliver(self) -> None:
        """Deliver what is kept, in order; stop at the first that the store does not take."""
        began = time.monotonic()
        try:
            while self._kept:
                self._write(*self._kept[0])
                self._kept.popleft()
        except StoreAwayError as error:
            now = time.monotonic()
            self._since = self._since if self._away else now
            # Of a server that does not even refuse, waiting for its answer is to take a small part of the time.
            self._away, self._next = error, now + max(_SECONDS_BETWEEN_TRIES, 9 * (now - began))
            if not self._last_line or now - self._last_line > SECONDS_BETWEEN_LINES:
                _LOG.warning(
                    "The tracking store is away; training goes on and keeps what it measures (%d records), for up to %.0f s.",
                    len(self._kept),
                    max(0.0, self._patience - (now - self._since)),
                )
                self._last_line = now
            return
        if self._away is not None:
            _LOG.warning("The tracking store is back after %.0f s; it has all records.", time.monotonic() - self._since)
            self._away, self._last_line = None, 0.0

    def check(self) -> None:
        """Raise why the store is away, once it has been so for longer than the patience; try again before.

        Raises:
            StoreAwayError: It is.
        """
        if self._away is not None and time.monotonic() >= self._next:
            self.deliver()
        if self._away is not None and time.monotonic() - self._since > self._patience:
            raise self._away

    def close(self) -> None:
        """Deliver the rest, and wait for that.

        Raises:
            StoreAwayError: The store stayed away.
        """
        self.deliver()
        while self._away is not None:
            self.check()
            time.sleep(1.0)
