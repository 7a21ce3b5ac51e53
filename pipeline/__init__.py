"""Trains, tunes, evaluates and fairly compares fine-tuning strategies for BERT-style encoders."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load_results"]

if TYPE_CHECKING:
    from pipeline.tracking.results import load_results


def __getattr__(name: str) -> Any:
    """Import `load_results` when it is first used, so that `import pipeline` stays quick."""
    if name == "load_results":
        from pipeline.tracking.results import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
