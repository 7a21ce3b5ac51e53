"""What must be said of how test overlaps train, beside any test scores."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.comparison.selection import Selection
from pipeline.data.overlap import warn_of_overlap

OVERLAP = "data/overlap_train_test_"
"""What its metrics begin with."""


def find_overlap(selection: Selection) -> dict[str, float]:
    """The metrics of how much of test stands in train, of the first run that has them: all were tested on the same data."""
    found = ({name: run.metrics[name] for name in run.metrics if name.startswith(OVERLAP)} for run in selection.kept)
    return next(filter(None, found), {})


def say_overlap(selection: Selection) -> str:
    """How much of test stands in train, be it much or little. It was measured before any limit on the number of texts."""
    limited = any(run.params.get(name) for run in selection.kept for name in ("max_train_samples", "max_eval_samples"))
    return describe_overlap(find_overlap(selection), "of the whole split" if limited else "")


def describe_overlap(metrics: Mapping[str, float], of: str = "") -> str:
    """One line beside test scores in any case: the warning, or how little overlap there is, or that nothing was measured.

    Args:
        of: What the shares are of, where that is not what was tested.
    """
    if warning := warn_of_overlap(metrics):
        return f"{warning} The shares are {of}." if of else warning
    for unit, kinds in (("texts", ("leaking", "normalised")), ("pairs", ("either_text", "pair"))):
        shares = [metrics.get(OVERLAP + kind) for kind in kinds]
        if None not in shares:
            overlapping = "leaking" if unit == "texts" else "with a text that stands in train"
            place = f" ({of})" if of else ""
            return f"Test overlaps train: {shares[0]:.1f} % of its {unit} {overlapping}, {shares[1]:.1f} % repeated{place}."
    return "Whether test overlaps train was not measured."
