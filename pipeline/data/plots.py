"""Pictures of prepared data."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.overlap.pairs import PAIR_KINDS
from pipeline.data.overlap.texts import KINDS
from pipeline.fonts import entitle

_BINS = 60


def draw_token_lengths(lengths: Mapping[str, NDArray[np.int64]], max_length: int, title: str, things: str = "texts") -> Figure:
    """How long the texts, or pieces of them, are in tokens, as shares of each split, with the length at which they are cut."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    longest = max(int(values.max()) for values in lengths.values())
    width = -(-(longest + 1) // _BINS)  # whole tokens, or some bins would hold more lengths than others
    bins = (np.arange(0, longest + width + 1, width) - 0.5).tolist()
    for split, values in lengths.items():
        weights = np.full(len(values), 100 / len(values))
        label = (
            f"{split}: {len(values):,} {things}, median {np.median(values):.0f}, 95 % within {np.percentile(values, 95):.0f}"
        )
        axes.hist(values, bins=bins, weights=weights, histtype="step", linewidth=1.6, label=label)
    at_limit = sum(int((values >= max_length).sum()) for values in lengths.values())
    axes.axvline(max_length, color="grey", linestyle="--", label=f"max_length {max_length}: {at_limit:,} {things} reach it")
    axes.set(xlabel="tokens, special tokens included", ylabel=f"% of {things}")
    entitle(axes, title)
    axes.legend(frameon=False)
    return figure


def draw_overlap(counts: Mapping[str, Mapping[str, int]], title: str) -> Figure:
    """Per pair of splits, which share of the second one's texts stands again in the first, by kind."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(counts)
    of_pairs = all(kind in by_kind for by_kind in counts.values() for kind in PAIR_KINDS)
    kinds, things = (PAIR_KINDS, "pairs") if of_pairs else (KINDS, "texts")
    for index, (pair, by_kind) in enumerate(counts.items()):
        first, second = pair.split("/")
        shares = [100 * by_kind[kind] / max(1, by_kind["rows"]) for kind in kinds]
        places = np.arange(len(kinds)) + (index - (len(counts) - 1) / 2) * height
        bars = axes.barh(places, shares, height, label=f"{second} {things} ({by_kind['rows']:,}) as against {first}")
        labels = [f"{share:.1f}" if share >= 0.05 else f"{share:.2g}" for share in shares]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_yticks(
        np.arange(len(kinds)), [f"{kind.replace('_', ' ')}\n{meaning}" for kind, meaning in kinds.items()], fontsize=8
    )
    axes.invert_yaxis()
    widest = max(100 * by_kind[kind] / max(1, by_kind["rows"]) for by_kind in counts.values() for kind in kinds)
    axes.set_xlim(0, max(1.0, widest) * 1.12)
    axes.set(xlabel=f"% of {things}")
    entitle(axes, title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=len(counts), fontsize=8)
    return figure
