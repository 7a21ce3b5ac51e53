"""Pictures of one model's predictions. matplotlib is imported where something is drawn, which training does not do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluation.testing.predictions import count_confusions
from pipeline.fonts import Fonts, entitle, find_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELLED_CLASSES = 20  # beyond, numbers in the cells would overlap
_DRAWN_CLASSES = 500  # beyond, a class is thinner than a pixel
_DRAWN_LABELS = 40
_LONGEST_NAME = 30
_BINNED_POINTS = 5_000  # beyond, points would cover each other


def draw_confusion(gold: NDArray[np.int64], predicted: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """The confusion matrix: rows are true classes, shaded by their share, each cell with its count.

    Of very many classes those with the most texts are drawn, in their order; the title says so. Shares are of all texts of
    a class, whatever they were predicted as.

    Args:
        gold: Index of the true class; shape [texts].
        predicted: Index of the predicted class; shape [texts].
    """
    support = np.bincount(gold, minlength=len(names))
    chosen = np.arange(len(names))
    if len(names) > _DRAWN_CLASSES:
        title += f"; the {_DRAWN_CLASSES} most frequent of {len(names):,} classes"
        chosen = np.sort(np.argsort(-support, kind="stable")[:_DRAWN_CLASSES])
    counts, classes = count_confusions(gold, predicted, chosen), [names[index] for index in chosen.tolist()]
    fonts = find_fonts(classes)
    with fonts.applied():
        return _draw(counts, counts / np.maximum(1, support[chosen, None]), classes, fonts, title)


def _draw(counts: NDArray[np.int64], shares: NDArray[np.float64], classes: Sequence[str], fonts: Fonts, title: str) -> Figure:
    from matplotlib.figure import Figure

    size = max(4.0, min(12.0, 1.2 + 0.7 * len(classes)))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class")
    numbered = not all(map(fonts.can_draw, classes))
    axes.set(xlabel="predicted", ylabel="true (numbers: rows of per_class.csv)" if numbered else "true")
    entitle(axes, title)
    if len(classes) <= _LABELLED_CLASSES:
        ticks = np.arange(len(classes))
        names = list(map(_shortened, classes))
        if numbered:  # a box says nothing; the file lists the classes in this order
            names = [str(number) for number in range(1, len(classes) + 1)]
        # A class may be called `$x$`, which is no formula.
        axes.set_xticks(ticks, names, rotation=45 if len(classes) > 3 else 0, parse_math=False)
        axes.set_yticks(ticks, names, parse_math=False)
        for row, column in np.ndindex(*counts.shape):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color)
    return figure


def draw_label_scores(f1: pd.Series, at_half: pd.Series, support: pd.Series, title: str) -> Figure:
    """F1 of each label, a bar each, with a mark where it is with 0.5 as threshold; of very many labels the most frequent.

    Args:
        f1: By label, as are the others.
        support: How many texts have the label.
    """
    from matplotlib.figure import Figure

    shown = np.sort(np.argsort(-support.to_numpy(), kind="stable")[:_DRAWN_LABELS])
    if len(shown) < len(f1):
        title += f"; the {_DRAWN_LABELS} most frequent of {len(f1):,} labels"
    names = [f"{_shortened(str(name))} ({texts:,.0f})" for name, texts in support.iloc[shown].items()]
    fonts = find_fonts(names)
    with fonts.applied():
        figure = Figure(figsize=(6.5, 1.6 + 0.3 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(shown))
        axes.barh(places, f1.iloc[shown], color="#3b6fb6", label="at the label's threshold")
        axes.plot(at_half.iloc[shown], places, "o", color="#c2773b", markersize=5, label="at 0.5")
        if not all(map(fonts.can_draw, names)):  # a box says nothing; the file lists the labels in this order
            names = [str(place + 1) for place in shown]
        axes.set_yticks(places, names, parse_math=False)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="F1 (in brackets: texts that have the label)")
        entitle(axes, title, size=11)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."


def draw_scores(gold: NDArray[np.float64], predicted: NDArray[np.float64], title: str) -> Figure:
    """Predicted against true scores, a point per example, or of very many how many lie where; the line is where they are equal.

    Args:
        gold: Shape [examples].
        predicted: Shape [examples], on the same scale.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes = figure.add_subplot()
    if len(gold) > _BINNED_POINTS:
        image = axes.hexbin(gold, predicted, gridsize=50, bins="log", cmap="Blues", mincnt=1)
        figure.colorbar(image, ax=axes, label="examples")
    else:
        axes.scatter(gold, predicted, s=12, alpha=0.4, linewidths=0, color="#3b6fb6")
    ends = [float(gold.min()), float(gold.max())]
    axes.plot(ends, ends, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="true score", ylabel="predicted score")
    entitle(axes, title)
    return figure
