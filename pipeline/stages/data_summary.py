"""What is in prepared data, and what is wrong with them, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.data.overlap import overlap_metrics, warn_of_overlap
from pipeline.data.prepared import PreparedData


def summarise_data(prepared: PreparedData) -> Iterator[str]:
    """Sizes, classes, dropped rows, repetitions and overlap, contradictions."""
    manifest = prepared.manifest
    rows = ", ".join(f"{name} {count:,}" for name, count in manifest.rows.items())
    classes = f"classes {', '.join(manifest.classes[:10])}{' ...' if len(manifest.classes) > 10 else ''}"
    labels = "scores {:g} to {:g}".format(*manifest.score_range) if manifest.score_range else classes
    yield f"{manifest.name}: {rows}{' pairs of texts' if manifest.pairs else ''}; {labels}."
    if dropped := {reason: count for reason, count in manifest.dropped.items() if count}:
        reasons = ", ".join(f"{count:,} with {reason}" for reason, count in dropped.items())
        yield f"  Dropped rows: {sum(dropped.values()):,} in all, {reasons}."
    things = "Pairs" if manifest.pairs else "Texts"
    across = {pair: count for pair, count in manifest.audit["duplicates_across"].items() if count}
    if across:
        yield (
            f"  {things} that stand in two splits: " + ", ".join(f"{count:,} in {pair}" for pair, count in across.items()) + "."
        )
    if warning := warn_of_overlap(overlap_metrics(manifest.overlap)):
        yield f"  {warning}"
    if manifest.audit["conflicting_labels"]:
        yield f"  {things} with more than one label: {manifest.audit['conflicting_labels']:,}."
    yield from (f"  {note}" for note in manifest.notes)
    yield f"  Fingerprint {manifest.fingerprint[:12]}, kept in {prepared.folder}."
