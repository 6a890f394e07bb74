import numpy as np
import pytest

from timemachine.forecasting.models.regression import ridge
from timemachine.forecasting.strategies.backtest import ErrorSums, backtest, error_sums
from timemachine.forecasting.strategies.baselines import last_value, mean
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, lag_forecaster

RAMP = np.arange(30.0)[None]
NOISE = np.random.default_rng(0).normal(size=(2, 60))
TWO_LAGS = lag_forecaster("recursive", ridge(0.0), 2)


def constant(values: np.ndarray) -> Forecaster:
    """Forecasts values (num_series,) always and everywhere."""
    return lambda _: (
        lambda x, origins, horizon: np.broadcast_to(values[:, None, None], (len(x), len(origins), horizon))
    )


def mean_of_fitted(x: np.ndarray) -> FittedForecaster:
    return constant(x.mean(1))(x)


def test_on_a_ramp_the_last_value_errs_by_as_much_as_it_looks_ahead() -> None:
    result = backtest(last_value, RAMP, 20, 6)
    assert result.predictions.shape == result.errors.shape == (1, 10, 6)
    sums = ErrorSums.of(result.errors)
    assert sums.rmse().tolist() == sums.mae().tolist() == [[1, 2, 3, 4, 5, 6]]
    assert (sums.spread() == 0).all()
    for k in range(1, 7):
        assert (result.errors[0, : 11 - k, k - 1] == -k).all()


def test_only_errors_beyond_the_end_are_unknown() -> None:
    errors = backtest(last_value, NOISE, 50, 10).errors
    assert np.array_equal(np.isnan(errors[0]), np.add.outer(np.arange(10), np.arange(10)) >= 10)


def test_measures_are_over_origins_with_a_true_value() -> None:
    result = error_sums(mean, NOISE, 40, 3)
    errors = [[NOISE[1, :o].mean() - NOISE[1, o + k] for o in range(40, 60 - k)] for k in range(3)]
    assert result.rmse()[1] == pytest.approx([np.sqrt(np.mean(np.square(e))) for e in errors])
    assert result.mae()[1] == pytest.approx([np.mean(np.abs(e)) for e in errors])
    assert result.spread()[1] == pytest.approx([np.std(np.abs(e)) for e in errors])
    assert result.score()[1] == pytest.approx(np.sqrt(np.mean(np.square(np.concatenate(errors)))))


@pytest.mark.parametrize(
    ("num_folds", "starts"), [(1, [40]), (2, [40, 50]), (4, [40, 45, 50, 55]), (99, range(40, 60))]
)
def test_everything_is_fitted_anew_before_each_fold(num_folds: int, starts: list[int]) -> None:
    predictions = backtest(mean_of_fitted, NOISE, 40, 2, num_folds).predictions
    known = [max(start for start in starts if start <= origin) for origin in range(40, 60)]
    assert predictions[:, :, 1] == pytest.approx(np.stack([NOISE[:, :n].mean(1) for n in known], axis=1))


def test_errors_are_summed_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = backtest(mean_of_fitted, NOISE, 40, 3, 2)
    monkeypatch.setattr("timemachine.forecasting.strategies.backtest._BLOCK_VALUES", 2 * 3 * 7)  # seven origins
    expected, sums = ErrorSums.of(whole.errors), error_sums(mean_of_fitted, NOISE, 40, 3, 2)
    for name in ("rmse", "mae", "spread", "score"):
        assert getattr(sums, name)() == pytest.approx(getattr(expected, name)(), rel=1e-12)
    assert np.array_equal(backtest(mean_of_fitted, NOISE, 40, 3, 2).errors, whole.errors, equal_nan=True)


def test_what_grows_without_bound_is_infinitely_wrong() -> None:
    x = np.stack([NOISE[0], 1e150 * NOISE[1]])

    def exploding(x: np.ndarray) -> FittedForecaster:
        return lambda x, origins, horizon: constant(np.array([np.nan, 1e200]))(x)(x, origins, horizon)

    result = error_sums(exploding, x, 40, 3)
    assert np.isposinf(result.score()).all()
    assert np.isposinf(result.rmse()).all()
    assert np.isposinf(result.spread()).all()


def test_an_autoregression_with_a_root_far_outside_the_unit_circle_is_infinitely_wrong() -> None:
    x = 3.0 ** np.arange(30)[None]
    x = np.concatenate([x, np.tile(x[:, -1:], 700)], axis=1)
    result = error_sums(lambda _: lag_forecaster("recursive", ridge(0.0), 1)(x[:, :30]), x, 30, 700)
    assert np.isinf(result.score()).all()
    assert np.isfinite(result.rmse()[:, 0]).all()


@pytest.mark.parametrize(("first", "horizon"), [(55, 6), (60, 1), (50, 0)])
def test_a_horizon_that_no_origin_can_be_scored_at_is_an_error(first: int, horizon: int) -> None:
    with pytest.raises(ValueError, match=f"too few for {horizon} steps ahead of the first {first}"):
        backtest(last_value, NOISE, first, horizon)


@pytest.mark.parametrize(("forecaster", "first"), [(last_value, 0), (mean, 0), (last_value, -1), (TWO_LAGS, 2)])
def test_an_origin_before_which_too_little_is_known_is_an_error(forecaster: Forecaster, first: int) -> None:
    with pytest.raises(ValueError, match="observations are too few"):
        backtest(forecaster, NOISE, first, 3)
