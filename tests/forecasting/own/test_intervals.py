import numpy as np
import pytest

from timemachine.forecasting.own.intervals import pooled_half_widths

RNG = np.random.default_rng(0)


def known(errors: np.ndarray) -> np.ndarray:
    """The errors that are known at the end: those of the last origins are only known for the next steps."""
    num_origins, num_steps = errors.shape
    known_from = np.add.outer(np.arange(num_origins), np.arange(1, num_steps + 1))
    return np.where(known_from <= num_origins, errors, np.nan)


def test_many_errors_of_a_horizon_are_enough_for_it() -> None:
    errors = RNG.normal(0, [1.0, 3.0, 2.0], (4000, 3))
    assert pooled_half_widths(known(errors), 3, 0.9) == pytest.approx(
        [1.64 * 1.03, 4.93 * 1.03, 3.29 * 1.03], rel=0.1
    )


def test_few_errors_are_joined_by_the_scaled_errors_of_other_horizons() -> None:
    widths = np.mean(
        [
            pooled_half_widths(known(RNG.normal(0, np.sqrt(np.arange(1, 13)), (12, 12))), 12, 0.9)
            for _ in range(200)
        ],
        axis=0,
    )
    assert widths / np.sqrt(np.arange(1, 13)) == pytest.approx(1.64 * 1.03, rel=0.2)


def test_widths_grow_beyond_the_longest_horizon_that_has_errors() -> None:
    errors = RNG.normal(0, 1, (300, 1)) * np.array([1.0, 2.0, 3.0])
    widths = pooled_half_widths(errors, 6, 0.5)
    assert widths / widths[0] == pytest.approx(np.arange(1.0, 7), rel=1e-6)


def test_no_error_is_no_width_and_too_few_errors_are_an_error() -> None:
    assert pooled_half_widths(np.zeros((20, 4)), 5, 0.9).tolist() == [0.0] * 5
    with pytest.raises(ValueError, match=r"level 0\.95 need 19 errors of past forecasts, but there are only 15"):
        pooled_half_widths(known(np.ones((5, 5))), 5, 0.95)
