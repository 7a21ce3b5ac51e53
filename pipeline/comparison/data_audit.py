"""The results of the data audit, and the overlap of test with train, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import pandas as pd

from pipeline.comparison.predictions import read_record
from pipeline.comparison.selection import Selection, limit_of_test, limit_of_train
from pipeline.data.overlap.texts import warn_of_overlap
from pipeline.tracking.run_options import count_of
from pipeline.tracking.runs import Run, RunStore

OVERLAP = "data/overlap_train_test_"
"""What its metrics begin with."""


def find_overlap(selection: Selection) -> dict[str, float]:
    """The metrics of how much of test stands in train, of the first run that has them: all were tested on the same data."""
    overlaps = ({name: run.metrics[name] for name in run.metrics if name.startswith(OVERLAP)} for run in selection.kept)
    return next(filter(None, overlaps), {})


def say_overlap(selection: Selection) -> str:
    """How much of test stands in train, be it much or little. It was measured before any limit on the number of texts."""
    limited = any(_is_limited(run) for run in selection.kept)
    return describe_overlap(find_overlap(selection), "of the whole split" if limited else "")


def _is_limited(run: Run) -> bool:
    bounds = (count_of(run, "train_size"), limit_of_train(run), limit_of_test(run))
    return any(bound is not None for bound in bounds)


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


@dataclass(frozen=True)
class DataAudit:
    """What was recorded of the data."""

    overlap: Mapping[str, float] = field(default_factory=dict)
    """Metric -> percentage of the test texts, or pairs, that overlap train; empty where no run has them."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """That of the prepared data, as JSON; empty where no run has it."""

    @property
    def classes(self) -> list[str]:
        """Those of the data; none of scores."""
        return list(self.manifest.get("classes", []))

    @property
    def rows(self) -> Mapping[str, int]:
        """Part -> how many texts or pairs it has."""
        counts: Mapping[str, int] = self.manifest.get("rows", {})
        return counts

    def rows_by_class(self, part: str) -> dict[str, int]:
        """Class -> how many texts or pairs of a part carry it."""
        counts = self.manifest.get("rows_by_class", {}).get(part, [])
        return {name: count or 0 for name, count in zip_longest(self.classes, counts[: len(self.classes)])}

    def count(self, what: str) -> Mapping[str, int]:
        """`duplicates_within` by part, or `duplicates_across` by `a/b`, as `pipeline.data.quality_checks` counts them."""
        counts: Mapping[str, int] = self.manifest.get("audit", {}).get(what, {})
        return counts

    @property
    def conflicting_labels(self) -> int | None:
        """Distinct texts or pairs with more than one label; None where nobody counted."""
        count: int | None = self.manifest.get("audit", {}).get("conflicting_labels")
        return count


def read_audit(selection: Selection, store: RunStore) -> DataAudit:
    """The audit of the compared runs' data, as a run of `prepare_data` on equal data or one of their trainings recorded it."""
    fingerprint = selection.kept[0].tags["data_fingerprint"]
    prepared = store.search({"stage": "prepare_data", "data_fingerprint": fingerprint})
    manifests = (read_record(run, "manifest.json", store) for run in (*prepared, *selection.kept))
    return DataAudit(find_overlap(selection), next(filter(None, manifests), {}))


def tabulate_audit(audit: DataAudit) -> pd.DataFrame:
    """`audit.csv`: a line per part or pair of parts and what was counted there; overlap in percent of the test part."""
    return pd.DataFrame(_list_figures(audit), columns=["part", "what", "class", "value"], dtype=object)


def _list_figures(audit: DataAudit) -> Iterator[tuple[str, str, str, float]]:
    for part, rows in audit.rows.items():
        yield part, "rows", "", rows
        for name, count in audit.rows_by_class(part).items():
            yield part, "rows_of_class", name, count
    for what in ("duplicates_within", "duplicates_across"):
        for part, count in audit.count(what).items():
            yield part, what, "", count
    if audit.conflicting_labels is not None:
        yield "all", "conflicting_labels", "", audit.conflicting_labels
    for reason, count in audit.manifest.get("dropped", {}).items():
        yield "all", f"dropped: {reason}", "", count
    for name, share in audit.overlap.items():
        yield "train/test", f"overlap_{name.removeprefix(OVERLAP)}_percent", "", share
