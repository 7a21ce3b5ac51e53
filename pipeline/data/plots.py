"""Pictures of prepared data."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def draw_token_lengths(lengths: Mapping[str, NDArray[np.int64]], max_length: int, title: str) -> Figure:
    """How long the texts are in tokens, as shares of each split, with the length at which they are cut."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    longest = max(int(values.max()) for values in lengths.values())
    bins = np.linspace(0, longest + 1, min(longest + 2, 60)).tolist()
    for split, values in lengths.items():
        weights = np.full(len(values), 100 / len(values))
        label = f"{split}: {len(values):,} texts, median {np.median(values):.0f}, 95 % within {np.percentile(values, 95):.0f}"
        axes.hist(values, bins=bins, weights=weights, histtype="step", linewidth=1.6, label=label)
    at_limit = sum(int((values >= max_length).sum()) for values in lengths.values())
    axes.axvline(max_length, color="grey", linestyle="--", label=f"max_length {max_length}: {at_limit:,} texts reach it")
    axes.set(xlabel="tokens, special tokens included", ylabel="% of texts")
    axes.set_title(title, parse_math=False)
    axes.legend(frameon=False)
    return figure
