"""What every run that a stage makes says of where it comes from."""

from __future__ import annotations

from pipeline.config import StageConfig
from pipeline.hashing import digest
from pipeline.identity import identify
from pipeline.tracking.provenance import git_commit


def origin_tags(stage: str, config: StageConfig, data_fingerprint: str) -> dict[str, str]:
    """The tags that name a run's stage, data, configuration and commit."""
    return {
        "stage": stage,
        "data_fingerprint": data_fingerprint,
        "config_hash": digest(identify(config)),
        "git_commit": git_commit(),
    }
