"""Accuracy and seconds of our forecasters against those of statsmodels, on the book's noisy sine.

x_t = sin(0.01 t) + N(0, 0.2²): 604 of 1,000 points are observed, less than the period of 628, and the root mean
squared error (RMSE) of the best possible forecast is 0.2. For every seed, all competitors run one after another,
each with one series at a time:

- multistep: RMSE of one forecast of the next 396 points. The seconds include fitting, the choice of
  hyperparameters, and this forecast.
- 64 steps: RMSE of the prediction 64 steps ahead from every origin from 604 on. Parameters stay as fitted to the
  604 points, and only the state is updated: autoregressions feed back their predictions from the last true values,
  state-space models filter the whole series once (`results.append(…, refit=False)`), and a harmonic regression is
  a function of time, so it does not change. The benchmark checks that both ways give the same first forecast.

Sizes, lags, penalties and rolling origins are those of params.yaml (series, choose_tau, backtest). statsmodels'
optimisers may take many more iterations than by default; a column counts the seeds for which one did not converge
(for any of the four orders that AIC chooses from). Without narrow bounds on its period, the cycle of
UnobservedComponents often misses the sine, so it also runs with bounds from a quarter of the observed points to
four times as many. Harmonic regression searches all frequencies and needs no such bounds.

Run: python benchmarks/forecasting.py [--seeds N]
"""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import statsmodels
from numpy.typing import NDArray
from statsmodels.tools.sm_exceptions import ConvergenceWarning, EstimationWarning
from statsmodels.tsa.ar_model import AutoReg, ar_select_order
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.statespace.structural import UnobservedComponents

from timemachine.forecasting.evaluation.forecast import rmse
from timemachine.forecasting.models.regression import Affine, ridge
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.strategies import backtest as rolling
from timemachine.forecasting.strategies.candidates import candidates
from timemachine.forecasting.strategies.harmonic import harmonic
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, Origins, lag_forecaster
from timemachine.pipeline import params
from timemachine.pipeline.params import Params

Array = NDArray[np.float64]

NUM_LAGS, MAX_LAGS = 4, 128
ORDERS = ((1, 0, 1), (2, 0, 1), (2, 0, 2), (4, 0, 1))
MAX_ITERATIONS = 500


class Fitted(NamedTuple):
    """A competitor fitted to observed points.

    Attributes:
        predictions: (horizon,) of the next points.
        forecast: the same model with the same parameters, from later origins.
        converged: whether its optimiser converged.
    """

    predictions: Array
    forecast: FittedForecaster
    converged: bool = True


class Result(NamedTuple):
    """The errors and seconds of a competitor for one seed."""

    multistep: float
    k_step: float
    seconds: float
    converged: bool


Competitor = Callable[[Array, int], Fitted]  # from observed points (n,) and a horizon


def our_competitors(checked: Params) -> dict[str, Competitor]:
    """Return the project's forecasters; they choose hyperparameters by the observed points."""
    backtest, choose_tau = checked.backtest, checked.choose_tau

    def of(name: str) -> Forecaster:
        return lambda x: candidates(x, backtest, choose_tau, backtest.horizon, [name])[name](x)

    def chosen(x: Array) -> FittedForecaster:
        found = candidates(x, backtest, choose_tau, backtest.horizon)
        origins = (backtest.first_validation, backtest.horizon, backtest.num_folds)
        return min(found.values(), key=lambda one: rolling.backtest(one, x, *origins).score()[0])(x)

    return {
        "ours: harmonic": _ours(harmonic(backtest.max_harmonics)),
        f"ours: recursive least squares, {NUM_LAGS} lags": _ours(
            lag_forecaster("recursive", ridge(0.0), NUM_LAGS)
        ),
        **{f"ours: {name}": _ours(of(name)) for name in ("recursive_ridge", "multi_output_ridge", "direct_ridge")},
        "ours: chosen by rolling origins": _ours(chosen),
    }


def _ours(forecaster: Forecaster) -> Competitor:
    def fit(observed: Array, horizon: int) -> Fitted:
        x = observed[None]
        forecast = forecaster(x)
        return Fitted(forecast(x, np.array([len(observed)]), horizon)[0, 0], forecast)

    return fit


def their_competitors(num_observed: int) -> dict[str, Competitor]:
    """Return the forecasters of statsmodels."""
    free, hinted = (2, 4 * num_observed), (num_observed // 4, 4 * num_observed)

    def sarimax(orders: Sequence[tuple[int, int, int]]) -> Competitor:
        return _in_state_space(lambda x: [SARIMAX(x, order=order, trend="c") for order in orders])

    def exponential_smoothing(trend: bool) -> Competitor:
        return _in_state_space(lambda x: [ExponentialSmoothing(x, trend=trend, damped_trend=trend)])

    def cycle(bounds: tuple[int, int], stochastic: bool) -> Competitor:
        return _in_state_space(
            lambda x: [
                UnobservedComponents(
                    x,
                    irregular=True,
                    cycle=True,
                    damped_cycle=True,
                    stochastic_cycle=stochastic,
                    cycle_period_bounds=bounds,
                )
            ]
        )

    hint = f"of {hinted[0]} to {hinted[1]} steps"
    return {
        f"AutoReg, {NUM_LAGS} lags": _autoregression(lambda x: AutoReg(x, NUM_LAGS)),
        "AutoReg, lags by BIC": _autoregression(lambda x: ar_select_order(x, MAX_LAGS, ic="bic").model),
        f"AutoReg, {MAX_LAGS} lags": _autoregression(lambda x: AutoReg(x, MAX_LAGS)),
        "SARIMAX (2, 0, 2)": sarimax([(2, 0, 2)]),
        "SARIMAX, order by AIC": sarimax(ORDERS),
        "exponential smoothing": exponential_smoothing(trend=False),
        "exponential smoothing, damped trend": exponential_smoothing(trend=True),
        "stochastic cycle": cycle(free, stochastic=True),
        f"stochastic cycle {hint}": cycle(hinted, stochastic=True),
        f"deterministic cycle {hint}": cycle(hinted, stochastic=False),
    }


def _autoregression(make: Callable[[Array], Any]) -> Competitor:
    """Return the competitor that fits an AutoReg of consecutive lags, c + Σ w_j x_{t−j}."""

    def fit(observed: Array, horizon: int) -> Fitted:
        results = make(observed).fit()
        predictions = results.forecast(horizon)
        constant, *weights = results.params
        model = Affine(np.array(weights[::-1])[None, :, None], np.full((1, 1, 1), constant))
        return Fitted(
            predictions, lag_forecaster("recursive", lambda x, problems: [model], len(weights))(observed[None])
        )

    return fit


def _in_state_space(make: Callable[[Array], Sequence[Any]]) -> Competitor:
    """Return the competitor that fits state-space models and uses the one of lowest AIC."""

    def fit(observed: Array, horizon: int) -> Fitted:
        all_results = [model.fit(disp=False, maxiter=MAX_ITERATIONS) for model in make(observed)]
        results = min(all_results, key=lambda one: one.aic)
        converged = all(one.mle_retvals["converged"] for one in all_results)
        return Fitted(results.forecast(horizon), _filtered(results, len(observed)), converged)

    return fit


def _filtered(results: Any, num_observed: int) -> FittedForecaster:
    """Return the forecasts of a state-space model x_t = d + Z a_t, a_{t+1} = c + T a_t, from one filter pass."""

    def forecast(x: Array, origins: Origins, horizon: int) -> Array:
        passed = results.append(x[0, num_observed:], refit=False).filter_results
        Z, T = passed.design[..., 0], passed.transition[..., 0]
        c, d = passed.state_intercept[:, :1], passed.obs_intercept[:, :1]  # the same at all times
        states = passed.predicted_state[:, origins]  # (num_states, num_origins)
        predictions = []
        for _ in range(horizon):
            predictions.append((d + Z @ states)[0])
            states = c + T @ states
        return np.stack(predictions, axis=1)[None]  # (1, num_origins, horizon)

    return forecast


def run(competitor: Competitor, x: Array, num_observed: int, k: int) -> Result:
    """Fit a competitor to the first points of a series (T,) and forecast the others."""
    begin = time.perf_counter()
    predictions, forecast, converged = competitor(x[:num_observed], len(x) - num_observed)
    seconds = time.perf_counter() - begin
    origins = np.arange(num_observed, len(x) - k + 1)
    ahead = forecast(x[None], origins, k)[0]  # (num_origins, k)
    assert np.allclose(ahead[0], predictions[:k], rtol=1e-6, atol=1e-6)
    errors = predictions - x[num_observed:], ahead[:, -1] - x[origins + k - 1]
    return Result(rmse(errors[0]), rmse(errors[1]), seconds, converged)


def main() -> None:
    """Print a row per competitor: both errors, median seconds, their ratio to harmonic's, and failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    checked = params.load()
    series, backtest = checked.series, checked.backtest
    competitors = our_competitors(checked) | their_competitors(backtest.num_observed)
    warnings.simplefilter("ignore", ConvergenceWarning)  # these are counted
    warnings.simplefilter("ignore", EstimationWarning)  # where an optimiser begins
    results: dict[str, list[Result]] = {name: [] for name in competitors}
    for seed in (0, *range(options.seeds)):
        x = noisy_sine(series.num_points, series.frequency, series.noise_std, seed).x
        for name, competitor in competitors.items():
            results[name].append(run(competitor, x, backtest.num_observed, backtest.horizon))
    print(f"statsmodels {statsmodels.__version__}; {options.seeds} seeds: means ± standard deviations, medians\n")
    print(
        f"| competitor | multistep RMSE | {backtest.horizon}-step RMSE | ms | time to harmonic | not converged |"
    )
    print("|---" * 6 + "|")
    base_s = np.median([result.seconds for result in results["ours: harmonic"][1:]])
    for name, (_, *counted) in results.items():  # the first round warms up
        multistep, k_step, seconds, converged = np.array(counted).T
        errors = " | ".join(f"{error.mean():.4f} ± {error.std():.4f}" for error in (multistep, k_step))
        print(
            f"| {name} | {errors} | {1000 * np.median(seconds):.1f} | {np.median(seconds) / base_s:.2f} "
            f"| {np.sum(converged == 0)} |"
        )


if __name__ == "__main__":
    main()
