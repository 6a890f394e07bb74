import math

import numpy as np
import pytest

from timemachine.forecasting.evaluation.conformal import coverage, half_widths, least_calibration
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.strategies.backtest import backtest
from timemachine.forecasting.strategies.harmonic import harmonic

LEVELS = [0.5, 0.8, 0.9, 0.95]


def one_half_width(errors: np.ndarray, origin: int, k: int, level: float, num_calibration: int) -> float:
    """The slow way, for one series (num_origins, horizon): what a forecaster would do who stands at an origin."""
    known = [abs(errors[past, k - 1]) for past in range(len(errors)) if past + k <= origin][-num_calibration:]
    rank = math.ceil(round((len(known) + 1) * level, 9))
    return sorted(known)[rank - 1] if rank <= len(known) else math.inf


@pytest.mark.parametrize(
    ("num_origins", "horizon", "num_calibration"), [(40, 6, 15), (12, 12, 100), (3, 9, 4), (30, 1, 1)]
)
def test_half_widths_are_ranks_of_the_errors_known_at_each_origin(
    num_origins: int, horizon: int, num_calibration: int
) -> None:
    errors = np.random.default_rng(0).normal(size=(2, num_origins, horizon))
    beyond = np.add.outer(np.arange(num_origins), np.arange(horizon)) >= num_origins
    errors[:, beyond] = np.nan
    widths = half_widths(errors, LEVELS, num_calibration)
    assert widths.shape == (2, num_origins + 1, horizon, len(LEVELS))
    for i, origin, k, level in np.ndindex(widths.shape):
        expected = one_half_width(errors[i], origin, k + 1, LEVELS[level], num_calibration)
        assert widths[i, origin, k, level] == expected


def test_an_error_made_later_changes_no_earlier_interval() -> None:
    errors = np.random.default_rng(0).normal(size=(1, 60, 8))
    before = half_widths(errors, LEVELS, 20)
    for changed, k in ((30, 1), (30, 8), (59, 1)):
        other = errors.copy()
        other[:, changed, k - 1] = 99
        after = half_widths(other, LEVELS, 20)
        assert np.array_equal(after[:, : changed + k], before[:, : changed + k])
        assert not np.array_equal(after[:, changed + k :, k - 1], before[:, changed + k :, k - 1])


def test_a_forecast_that_was_infinitely_wrong_makes_wide_intervals_infinite_and_narrow_ones_not() -> None:
    errors = np.ones((1, 9, 1))
    errors[0, 4] = np.inf
    assert half_widths(errors, [0.5, 0.9], 9)[0, -1, 0].tolist() == [1, np.inf]


@pytest.mark.parametrize(
    ("level", "num_errors"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.85, 6)]
)
def test_an_interval_is_finite_from_the_least_calibration_on(level: float, num_errors: int) -> None:
    assert least_calibration(level) == num_errors
    finite = np.isfinite(half_widths(np.ones((1, num_errors, 1)), [level], 1000))[0, :, 0, 0]
    assert finite.tolist() == [False] * num_errors + [True]


def test_coverage_is_the_share_of_known_truths_within() -> None:
    errors = np.array([[[1.0, -3.0], [-2.0, 4.0], [5.0, np.nan]]])
    widths = np.array([[[[2, 9], [3, 9]], [[2, 9], [3, 9]], [[2, np.inf], [0, 0]]]], dtype=np.float64)
    assert coverage(errors, widths) == pytest.approx(np.array([[[2 / 3, 1], [1 / 2, 1]]]))


def test_intervals_of_exchangeable_errors_cover_as_often_as_they_say() -> None:
    errors = np.random.default_rng(0).standard_cauchy(size=(20, 1000, 2))
    covered = coverage(errors[:, 100:], half_widths(errors, LEVELS, 19)[:, 100:-1]).mean(0)
    assert covered == pytest.approx(np.tile([0.5, 0.8, 0.9, 0.95], (2, 1)), abs=0.01)


def test_intervals_around_harmonic_forecasts_of_the_books_sine_hold_at_every_horizon() -> None:
    x = np.stack([noisy_sine(1000, 0.01, 0.2, seed).x for seed in range(50)])
    errors = backtest(harmonic(1), x, 304, 64, 9).errors
    widths = half_widths(errors, LEVELS, 100)
    covered = coverage(errors[:, 300:], widths[:, 300:-1]).mean(0)
    for k in (1, 4, 16, 64):
        assert covered[k - 1] == pytest.approx(np.array(LEVELS), abs=0.03)
