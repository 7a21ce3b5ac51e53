"""What the project reads, a module a kind."""

from __future__ import annotations

from ..reader import Reader
from . import data, kept, models, options, runs

READERS: dict[str, Reader] = {
    reader.name: reader for module in (data, options, models, kept, runs) for reader in module.READERS
}
"""Name -> reader, in the order of the table."""
