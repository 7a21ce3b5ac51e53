import math

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_rel

from pipeline.evaluation.statistics.intervals import Estimate, estimate, needed_errors, smallest_accuracy_gap, wilson_interval


def test_one_seed_is_judged_by_its_texts_alone() -> None:
    found = estimate(np.array([0.8]), np.array([[0.0004]]), [np.eye(1)])
    assert (found.value, found.standard_error, found.degrees_of_freedom) == (0.8, pytest.approx(0.02), math.inf)
    interval = found.interval()
    reach = norm.ppf(0.975) * 0.02
    assert (interval.low, interval.high) == (pytest.approx(0.8 - reach), pytest.approx(0.8 + reach))


def test_without_variance_of_texts_paired_seeds_give_the_paired_t_test() -> None:
    scores = np.array([0.81, 0.83, 0.80, 0.86, 0.79, 0.80, 0.81, 0.82])
    contrasts = np.eye(8)[:4] - np.eye(8)[4:]
    found = estimate(scores, np.zeros((8, 8)), [contrasts])
    assert found.p_value() == pytest.approx(ttest_rel(scores[:4], scores[4:]).pvalue)
    assert found.degrees_of_freedom == pytest.approx(3)


def test_variances_of_texts_and_seeds_add_up_with_satterthwaites_degrees_of_freedom() -> None:
    # By hand: seeds .80, .82, .84 vary by .0004 / 3; the mean of the texts' covariance is .0003.
    found = estimate(np.array([0.80, 0.82, 0.84]), np.full((3, 3), 0.0003), [np.eye(3)])
    seeds = 0.0004 / 3
    assert found.standard_error == pytest.approx(math.sqrt(0.0003 + seeds))
    assert found.degrees_of_freedom == pytest.approx((0.0003 + seeds) ** 2 / (seeds**2 / 2))
    reach = t.ppf(0.975, found.degrees_of_freedom) * found.standard_error
    assert found.interval().high == pytest.approx(0.82 + reach)


def test_seeds_that_are_not_paired_add_their_variances() -> None:
    scores = np.array([0.8, 0.9, 0.5, 0.7])
    one, other = np.eye(4)[:2], -np.eye(4)[2:]
    found = estimate(scores, np.zeros((4, 4)), [one, other])
    assert found.value == pytest.approx(0.25)
    assert found.standard_error == pytest.approx(math.sqrt(0.005 / 2 + 0.02 / 2))


@pytest.mark.parametrize("value", [0.0391, 0.0393])
def test_the_interval_leaves_0_out_just_where_the_test_rejects(value: float) -> None:
    found = estimate(np.array([value]), np.array([[0.0004]]), [np.eye(1)])
    assert (found.interval().low > 0) == (found.p_value() < 0.05) == (value > 0.0392)


def test_no_variance_and_no_difference_is_no_evidence() -> None:
    assert estimate(np.array([0.7, 0.7]), np.full((2, 2), 0.01), [np.array([[1.0, -1.0]])]).p_value() == 1


def test_intervals_end_where_scores_do() -> None:
    interval = estimate(np.array([0.99]), np.array([[0.0004]]), [np.eye(1)]).interval(lowest=0.0)
    assert interval.high == 1.0


def test_the_smallest_gap_of_one_seed_is_that_of_the_normal_distribution() -> None:
    found = estimate(np.array([0.8]), np.array([[0.0004]]), [np.eye(1)])
    assert found.smallest_gap() == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * 0.02)
    assert estimate(np.array([0.8]), np.zeros((1, 1)), [np.eye(1)]).smallest_gap() == 0


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_test_has_80_percent_power_at_the_median_smallest_gap_of_few_seeds(seeds: int) -> None:
    generator = np.random.default_rng(0)
    covariance = np.full((seeds, seeds), 0.0001)  # of the texts, which all seeds share

    def draw(gap: float) -> list[Estimate]:
        texts, each = generator.normal(0, 0.01, (2000, 1)), generator.normal(0, 0.02, (2000, seeds))
        return [estimate(scores, covariance, [np.eye(seeds)]) for scores in gap + texts + each]

    gap = float(np.median([found.smallest_gap() for found in draw(0.0)]))
    power = np.mean([found.p_value() < 0.05 for found in draw(gap)])
    assert power == pytest.approx(0.8, abs=0.05)
    plain = float(np.median([needed_errors() * found.standard_error for found in draw(0.0)]))
    assert np.mean([found.p_value() < 0.05 for found in draw(plain)]) < 0.74


@pytest.mark.parametrize(("texts", "points"), [(872, 2.1), (1821, 1.5), (853, 2.1)])
def test_the_smallest_gap_in_accuracy_is_that_of_published_tables(texts: int, points: float) -> None:
    assert 100 * smallest_accuracy_gap(texts) == pytest.approx(points, abs=0.05)


@pytest.mark.parametrize(
    ("correct", "texts", "low", "high"), [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (426, 853, 0.4660, 0.5329)]
)
def test_the_interval_of_a_share_is_wilsons(correct: int, texts: int, low: float, high: float) -> None:
    z = norm.ppf(0.975)
    share = correct / texts
    center, reach = share + z**2 / (2 * texts), z * math.sqrt(share * (1 - share) / texts + z**2 / (4 * texts**2))
    interval = wilson_interval(correct, texts)
    assert (interval.low, interval.high) == (
        pytest.approx((center - reach) / (1 + z**2 / texts), abs=1e-12),
        pytest.approx((center + reach) / (1 + z**2 / texts), abs=1e-12),
    )
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
