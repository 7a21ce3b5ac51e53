"""The faults, a module a kind."""

from __future__ import annotations

from ..fault import Fault
from . import clock, concurrency, damage, limits, signals, stores

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (signals, limits, stores, damage, concurrency, clock) for fault in module.FAULTS
}
"""Name -> fault, in the order of the table."""
