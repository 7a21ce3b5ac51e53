"""Pictures of a search: score by trial, expected best score, importance of hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator

from pipeline.tuning.search import Trial


def expected_best(scores: Sequence[float], lower_is_better: bool = False) -> list[float]:
    """Expected best score of 1, 2, ... N trials, from the scores of N trials drawn at random.

    The expected validation performance of Dodge et al. 2019 (arXiv:1909.03004) in the unbiased form of Tang et al. 2020
    (arXiv:2004.14355): the mean of the best over all subsets of n of the N scores,
    sum over i of v_(i) C(i-1, n-1) / C(N, n), v_(1) <= ... <= v_(N). The plug-in form of Dodge et al. draws with repetition
    and comes out too low. Means something only where trials were drawn independently of one another's scores.

    Args:
        lower_is_better: For a loss, whose best is the lowest.
    """
    ordered = sorted(scores, reverse=lower_is_better)
    total = len(ordered)
    expected = []
    for size in range(1, total + 1):
        weight, mean = size / total, 0.0  # that of the best score, C(N-1, n-1) / C(N, n)
        for place in range(total - 1, size - 2, -1):
            mean += weight * ordered[place]
            weight *= (place - size + 1) / max(place, 1)
        expected.append(mean)
    return expected


def best_so_far(scores: Sequence[float], lower_is_better: bool = False) -> list[float]:
    """The best of the first 1, 2, ... N scores."""
    better = min if lower_is_better else max
    return [better(scores[: place + 1]) for place in range(len(scores))]


_SCORE, _BEST, _SHARE = "#3b6fb6", "#c2773b", "#5a9e6f"


def draw_trials(trials: Sequence[Trial], metric: str, lower_is_better: bool) -> Figure:
    """Score by trial, with the best so far; trials without a score are marked at the bottom."""
    figure, axes = _axes()
    scored = [(trial.number + 1, trial.score, trial.state) for trial in trials if trial.score is not None]
    done = [(number, score) for number, score, state in scored if state == "complete"]
    if done:
        numbers, scores = zip(*done, strict=True)
        axes.plot(numbers, scores, "o", color=_SCORE, label="trial")
        axes.plot(numbers, best_so_far(scores, lower_is_better), drawstyle="steps-post", color=_BEST, label="best so far")
    for state, marker in (("pruned", "v"), ("over budget", "s")):
        if chosen := [(number, score) for number, score, trial_state in scored if trial_state == state]:
            axes.plot(*zip(*chosen, strict=True), marker, color="#999999", label=state)
    if failed := [trial.number + 1 for trial in trials if trial.state == "failed"]:
        axes.plot(failed, [0.03] * len(failed), "x", color="#b33", transform=axes.get_xaxis_transform(), label="failed")
    axes.set(xlabel="trial", ylabel=f"validation {metric}", title="Score by trial")
    if axes.has_data():
        axes.legend(fontsize=9)
    return figure


def draw_expected_best(scores: Sequence[float], metric: str, lower_is_better: bool) -> Figure:
    """Expected best score against the number of random trials (Dodge et al. 2019, unbiased as in Tang et al. 2020)."""
    figure, axes = _axes()
    expected = expected_best(scores, lower_is_better)
    axes.plot(range(1, len(expected) + 1), expected, "o-", color=_BEST, markersize=4)
    axes.annotate(f"{expected[-1]:.4f}", (len(expected), expected[-1]), (0, 6), textcoords="offset points", ha="center")
    axes.margins(x=0.07, y=0.12)
    axes.set(xlabel="number of trials", ylabel=f"expected best validation {metric}", title="What so many trials are worth")
    return figure


def draw_importances(importances: Mapping[str, float]) -> Figure:
    """Share of each hyperparameter in how the scores differ."""
    figure, axes = _axes()
    axes.xaxis.set_major_locator(AutoLocator())
    ordered = sorted(importances.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=_SHARE)
    axes.bar_label(bars, [f"{share:.2f}" for _, share in ordered], padding=3, fontsize=9)
    axes.set_xlim(0, 1.1 * max(importances.values()))
    axes.set(xlabel="share of the differences in score (PED-ANOVA)", title="Which hyperparameter matters")
    return figure


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
