"""What must be said of scores on a second data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.tracking.runs import Run


def describe_transfer(runs: Sequence[Run]) -> Iterator[str]:
    """Which second data set the transfer columns are of; a warning where it is not one and the same for all rows."""
    tested = [run for run in runs if "transfer/f1_macro" in run.metrics]
    if not tested:
        return
    data = {(run.tags.get("transfer_fingerprint", ""), run.metrics.get("transfer/examples", 0.0)) for run in tested}
    names = ", ".join(dict.fromkeys(run.tags.get("transfer_dataset", "?") for run in tested))
    if len(data) > 1:
        yield f"The transfer columns are of different texts ({names}), so they must not be compared."
        return
    first = tested[0].metrics
    used = int(first.get("transfer/examples", 0))
    there = int(first.get("transfer/rows", used))  # not noted by older runs
    amount = f"{used:,}" if used == there else f"{used:,} of {there:,}"
    yield (
        f"Transfer: scores on {amount} texts of {names}, which no model was "
        f"trained or selected on; {first.get('transfer/overlap_train_exact', 0.0):.1f} % of them stand in train word for word."
    )
