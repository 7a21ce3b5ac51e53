"""The environment in which tests, and the processes that they start, run: no network, one thread, no store but their own."""

import os


def enter() -> None:
    """Take it on; before torch, transformers or mlflow are imported anywhere."""
    ours = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(ours)
