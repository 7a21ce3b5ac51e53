"""Pictures of one model's predictions."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_LABELLED_CLASSES = 20  # beyond, numbers in the cells would overlap


def draw_confusion(counts: NDArray[np.int64], classes: list[str], title: str) -> Figure:
    """The confusion matrix: rows are true classes, shaded by their share, each cell with its count."""
    size = max(4.0, min(12.0, 1.2 + 0.7 * len(classes)))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if len(classes) <= _LABELLED_CLASSES:
        ticks = np.arange(len(classes))
        axes.set_xticks(ticks, classes, rotation=45 if len(classes) > 3 else 0)
        axes.set_yticks(ticks, classes)
        for row, column in np.ndindex(*counts.shape):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color)
    return figure
