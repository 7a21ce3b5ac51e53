"""What `--precision auto` means on this machine, measured once: if it wavered, the same command would make other runs."""

from __future__ import annotations

import contextlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from pipeline.checksums import read_with_checksum, with_checksum
from pipeline.data.scratch import replace_text
from pipeline.hashing import digest
from pipeline.tracking.provenance import cpu_name
from pipeline.training.precision import Precision, choose_precision


def settle_precision(option: str, cache_dir: str) -> Precision:
    """The precision; that of `auto` is kept in the cache folder, for this hardware and version of torch.

    Raises:
        ConfigError: This machine does not compute in the precision that was asked for.
    """
    if option != "auto":
        return choose_precision(option)
    file = Path(cache_dir) / "precision" / f"{_machine()[:16]}.json"
    with contextlib.suppress(OSError, ValueError):
        text = file.read_text(encoding="utf-8")
        # Older versions wrote the name alone, which nothing that is damaged can look like.
        kept = json.loads(text) if text.startswith('"') else read_with_checksum(text)
        if kept in get_args(Precision):
            return choose_precision(str(kept))
    precision = choose_precision(option)
    replace_text(file, with_checksum(precision))
    return precision


def _machine() -> str:
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return digest([cpu_name(), cuda, torch.get_num_threads(), version("torch")])
