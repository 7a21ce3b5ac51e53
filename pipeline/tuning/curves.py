"""How good the best of so many trials is to be expected."""

from __future__ import annotations

from collections.abc import Sequence


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
