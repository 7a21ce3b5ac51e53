"""The law through a learning curve, and what it forecasts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from pipeline.evaluation.statistics.power_law import Curve, fit_and_extend, forecast

SIZES = np.array([32.0, 128.0, 512.0, 2048.0, 8192.0])


def law(sizes: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    return a * sizes**-b + c


@given(st.floats(0.2, 2.0), st.floats(0.1, 1.0), st.floats(0.0, 0.3))
def test_a_curve_that_follows_a_law_is_extended_by_it(a: float, b: float, c: float) -> None:
    found = fit_and_extend(SIZES, law(SIZES, a, b, c)[None], np.ones(5), 16384.0)
    assert found[0] == pytest.approx(law(np.array(16384.0), a, b, c), abs=2e-3)


def test_it_is_the_weighted_least_squares_of_scipy() -> None:
    errors = np.array([0.45, 0.38, 0.29, 0.26, 0.25])
    spread = np.array([0.05, 0.03, 0.02, 0.01, 0.01])
    (a, b, c), _ = curve_fit(law, SIZES, errors, (1, 0.5, 0.2), sigma=spread, bounds=([0, 0.01, 0], [np.inf, 2, 1]))
    assert fit_and_extend(SIZES, errors[None], spread, 4096.0)[0] == pytest.approx(law(4096.0, a, b, c), abs=1e-3)  # type: ignore[arg-type]


def test_errors_that_rise_are_extended_flat() -> None:
    assert fit_and_extend(SIZES, np.linspace(0.2, 0.4, 5)[None], np.ones(5), 16384.0)[0] == pytest.approx(0.3)


def made_curve(seeds: int, noise: float, best: float = 1.0, generator: int = 0) -> Curve:
    errors = law(SIZES, 1.5, 0.4, 0.1)
    scores = np.abs(best - errors)[:, None] + np.random.default_rng(generator).normal(0, noise, (5, seeds))
    return Curve(SIZES, scores, np.eye(5) * 1e-6, best)


def test_the_interval_is_wider_the_more_seeds_differ() -> None:
    widths = []
    for noise in (0.002, 0.02):
        score, gain = forecast(made_curve(5, noise), 16384.0)
        assert score.low <= score.value <= score.high
        assert gain.low <= gain.value <= gain.high
        widths.append(score.high - score.low)
    assert widths[0] < widths[1] / 3


def test_most_forecasts_hold_the_truth() -> None:
    truth = 1 - law(np.array(16384.0), 1.5, 0.4, 0.1)
    found = [forecast(made_curve(5, 0.01, generator=number), 16384.0, draws=300)[0] for number in range(60)]
    assert np.mean([score.low <= truth <= score.high for score in found]) > 0.8


def test_a_metric_of_which_less_is_better_falls() -> None:
    score, gain = forecast(made_curve(1, 0.0, best=0.0), 16384.0)
    assert score.value == pytest.approx(float(law(np.array(16384.0), 1.5, 0.4, 0.1)), abs=2e-3)
    assert gain.value < 0


def test_a_seed_that_lacks_a_size_is_left_out_of_the_draws() -> None:
    curve = made_curve(4, 0.01)
    scores = curve.scores.copy()
    scores[0, 1] = np.nan
    drawn = Curve(SIZES, scores, curve.covariance).draw(500, 0)
    assert np.isfinite(drawn).all()
