from pathlib import Path

import numpy as np
import pytest

from timemachine.forecasting.series.source import Series, noisy_sine


def test_the_sine_starts_at_t_1_and_carries_noise_of_the_given_size() -> None:
    exact, noisy = noisy_sine(1000, 0.01, 0.0, 0), noisy_sine(1000, 0.01, 0.2, 0)
    assert exact.x[0] == np.sin(0.01)
    assert exact.x[-1] == np.sin(10)
    assert np.std(noisy.x - exact.x) == pytest.approx(0.2, rel=0.1)


def test_the_same_seed_gives_the_same_series_and_another_one_another() -> None:
    assert np.array_equal(noisy_sine(50, 0.01, 0.2, 3).x, noisy_sine(50, 0.01, 0.2, 3).x)
    assert not np.array_equal(noisy_sine(50, 0.01, 0.2, 3).x, noisy_sine(50, 0.01, 0.2, 4).x)


def test_a_saved_series_comes_back_exactly(tmp_path: Path) -> None:
    series = noisy_sine(50, 0.01, 0.2, 0)
    series.save(tmp_path / "s.csv")
    loaded = Series.load(tmp_path / "s.csv")
    assert np.array_equal(loaded.x, series.x)
    assert np.array_equal(loaded.time, series.time)


@pytest.mark.parametrize("largest", [0.0, 1e-15, 1.0, 1e15])
def test_a_unit_in_which_models_can_work_is_taken(largest: float) -> None:
    Series(np.arange(3), np.array([0.0, -largest, 0.0])).check_unit()


@pytest.mark.parametrize("largest", [5e-324, 1e-16, 1e16, 1e308])
def test_another_unit_is_an_error_that_says_so(largest: float) -> None:
    with pytest.raises(ValueError, match="choose a unit in which it is 1e-15 to 1e"):
        Series(np.arange(3), np.array([0.0, -largest, 0.0])).check_unit()
