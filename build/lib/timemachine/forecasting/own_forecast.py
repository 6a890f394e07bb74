"""Forecast a series of your own beyond its end.

The errors of forecasts from rolling origins in the second half of the series compare the strategies. The best one,
or a given one, is then fitted to the whole series and forecasts the values after its end. The errors at the
rolling origins also give the width of the prediction intervals.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from timemachine.base.errors import UserError, about
from timemachine.base.files import write_text
from timemachine.forecasting.evaluation.config import IntervalsParams
from timemachine.forecasting.evaluation.conformal import half_widths, least_calibration
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.series.own import future_times
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.baselines import last_value
from timemachine.forecasting.strategies.candidates import CANDIDATES, WITHOUT_LAGS, all_lags, candidates
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES, Forecaster, lag_forecaster
from timemachine.plots.figure import save_figure
from timemachine.plots.forecasting import draw_fan

# A series must have at least so many points more than the horizon, for the models at the first rolling origins.
_LEAST_MORE_POINTS = 8
# A harmonic regression of a longer series would take minutes, and its distant past says little about its end.
_MOST_POINTS = 10_000
# The cost of rolling origins is proportional to their number times the steps ahead.
_MOST_ORIGINS = 1000
_MOST_STEPS = 1000
# The final forecast is fitted to all values before its origin. Rolling origins are refitted more often than for a
# choice of lags, so that they too are close to the data that they are fitted to, and their errors are comparable.
_NUM_FOLDS = 12
# Larger observations, and forecasts of more than so many times the largest one, cannot be drawn.
_LARGEST_OBSERVATION = 1e280
_LARGEST_FORECAST = 1e18


class ForecastingParams(Protocol):
    """The sections of `params.yaml` that a forecast uses; this package does not import the whole of it."""

    train_ar: dict[str, ArRecipe]
    choose_tau: ChooseTauParams
    backtest: BacktestParams
    intervals: IntervalsParams


@dataclass(frozen=True)
class OwnForecast:
    """The forecast of a series, and its errors at rolling origins.

    Attributes:
        strategy: the name of the strategy.
        time: (horizon,) numbers, or dates as text.
        x: (horizon,) the forecast.
        num_origins: number of rolling origins.
        num_steps: number of steps ahead at these origins.
        ranking: RMSE over all origins and steps of each strategy that was tried, the smallest first. That of the
            best one is too optimistic, because these errors chose it.
        level: nominal probability that an interval contains the true value; None without intervals.
        half_widths: (horizon,) half of the widths of the intervals; 0 without intervals.
        coverage: the share of true values inside the intervals at the rolling origins; None if no origin has
            enough errors before it for an interval.
    """

    strategy: str
    time: NDArray[np.generic]
    x: Array
    num_origins: int
    num_steps: int
    ranking: Mapping[str, float]
    level: float | None
    half_widths: Array
    coverage: float | None

    def summary(self) -> list[str]:
        """Return lines with the errors of all strategies, and the coverage of the intervals."""
        lines = [f"RMSE over {self.num_origins} rolling origins, up to {_steps(self.num_steps)} ahead:"]
        width = max(map(len, self.ranking))
        for name, rmse in self.ranking.items():
            lines.append(f"  {name:<{width}}  {rmse:#.4g}{'  chosen' if name == self.strategy else ''}")
        if self.level is not None:
            known = (
                "not known, too few errors" if self.coverage is None else f"{self.coverage:.3f} at these origins"
            )
            lines.append(f"coverage of the intervals of level {self.level:g}: {known}")
        return lines

    def write(self, series: Series, path: Path) -> None:
        """Write the forecast as CSV, and a figure of it at `figure_path(path)`.

        Raises:
            UserError: the folder cannot be written to.
        """
        table, bands = DataFrame({"time": self.time, "forecast": self.x}), {}
        if self.level is not None:
            table = table.assign(lower=self.x - self.half_widths, upper=self.x + self.half_widths)
            bands = {self.level: self.half_widths}
        num_shown = max(4 * len(self.x), 60)
        time, x = np.concatenate([series.time[-num_shown:], self.time]), series.x[-num_shown:]
        title = f"Forecast of {_steps(len(self.x))} by {self.strategy}"
        figure = draw_fan(title, time, x, [(len(x), self.x, bands)], self.strategy)
        file = figure_path(path)
        try:
            save_figure(figure, file)
            file = path
            write_text(file, table.to_csv(index=False))
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror}") from None


def figure_path(path: Path) -> Path:
    """Return the path of the figure of a forecast whose CSV is at `path`."""
    return path.with_suffix(".png")


def output_path(path: Path, output: Path | None) -> Path:
    """Return where to write the forecast of the series at `path`; by default in the current folder.

    Raises:
        UserError: the output does not end in .csv, or would overwrite the series.
    """
    chosen = Path(f"{path.stem}_forecast.csv") if output is None else output
    if chosen.suffix != ".csv":
        raise UserError(f"{chosen}: the output must end in .csv; its figure ends in .png")
    if path.resolve() in (chosen.resolve(), figure_path(chosen).resolve()):
        raise UserError(f"{chosen}: the output would overwrite the series; choose another name")
    return chosen


def forecast_series(
    series: Series,
    horizon: int,
    params: ForecastingParams,
    strategy: str | None = None,
    level: float | None = None,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> OwnForecast:
    """Forecast a series beyond its end.

    Args:
        series: at least horizon + 8 points; only the last 10,000 are used, or the last 2 · horizon if that is
            more.
        horizon: number of steps.
        params: the sections. Direct and multi-output strategies forecast at a time at most `backtest.horizon`
            steps and a quarter of the points before the first rolling origin, so that enough training pairs
            remain.
        strategy: one of `CANDIDATES`, or `<lag strategy>_<entry of train_ar>`; None takes the best of
            `CANDIDATES`.
        level: level of the intervals; None for no intervals.
        show: reports progress: steps done, their number, and what they are.

    Raises:
        UserError: the strategy is unknown; the series is too short for the strategy, the horizon or the level; a
            value is above 1e280, or the forecast grows without bound.
    """
    observed = series.x[-max(_MOST_POINTS, 2 * horizon) :]
    num_points = len(observed)
    half = num_points - num_points // 2  # the second half has the rolling origins, the last ones if there are many
    _check(observed, horizon, level, half)
    calibration = max(params.intervals.num_calibration, 0 if level is None else least_calibration(level))
    num_steps = min(horizon, half, _MOST_STEPS)
    num_origins = min(half, max(_MOST_ORIGINS, calibration) + num_steps)
    output_chunk_length = max(1, min(horizon, params.backtest.horizon, (num_points - num_origins) // 4))
    changes = {"num_observed": num_points, "num_validation": num_origins, "horizon": num_steps}
    p = params.backtest.model_copy(update=changes)

    # Scaled by a power of 2, which is exact, so that squares neither overflow nor underflow.
    exponent = int(np.frexp(np.abs(observed).max())[1])
    x = np.ldexp(observed, -exponent)[None]  # (1, T)
    test = partial(backtest, x=x, first=p.first_validation, horizon=p.horizon, num_folds=_NUM_FOLDS)
    tests = {"last_value": test(last_value)}
    if strategy is None:
        # Models in closed form are left out if every τ is too long for the series.
        names = CANDIDATES if all_lags("ridge", p, params.choose_tau) else WITHOUT_LAGS
        forecasters = candidates(x, p, params.choose_tau, output_chunk_length, names, show)
        for i, (name, forecaster) in enumerate(forecasters.items()):
            show(i, len(forecasters), f"strategies, {name}")
            with suppress(UserError):  # the series may be too short for it
                tests[name] = test(forecaster)
        show(len(forecasters), len(forecasters), "strategies")
        strategy = min(tests, key=lambda name: float(tests[name].score()[0]))
    else:
        with about(strategy):
            forecasters = {strategy: _named(strategy, x, p, params, output_chunk_length)}
            show(0, 1, f"strategies, {strategy}")
            tests[strategy] = test(forecasters[strategy])
            show(1, 1, "strategies")
    with about(strategy):
        predicted = forecasters[strategy](x)(x, np.array([num_points]), horizon)[0, 0]
    tested = tests[strategy]
    with np.errstate(over="ignore"):
        values = np.ldexp(predicted, exponent)
        errors = {name: float(np.ldexp(one.score()[0], exponent)) for name, one in tests.items()}
        reach, coverage = np.zeros(horizon), None
        if level is not None:
            reach, coverage = _intervals(tested, level, calibration)
            reach = np.ldexp(reach, exponent)
        finite = np.isfinite([values - reach, values + reach]).all()
        finite &= np.isfinite([errors[strategy], errors["last_value"]]).all()
    if not (finite and (np.abs(predicted) < _LARGEST_FORECAST).all()):
        raise UserError(f"{strategy}: the forecasts grow without bound; choose another strategy")
    time = future_times(series, horizon)
    ranking = dict(sorted(errors.items(), key=lambda item: item[1]))
    return OwnForecast(strategy, time, values, num_origins, num_steps, ranking, level, reach, coverage)


def _check(observed: Array, horizon: int, level: float | None, num_origins: int) -> None:
    """Check that there are enough points for the horizon, and enough errors at it for intervals of the level."""
    needed = horizon + _LEAST_MORE_POINTS
    if len(observed) < needed:
        raise UserError(
            f"{len(observed)} points are too few for {_steps(horizon)} ahead; at least {needed} are needed"
        )
    if (largest := float(np.abs(observed).max())) > _LARGEST_OBSERVATION:
        raise UserError(f"a value of {largest:g} is beyond {_LARGEST_OBSERVATION:g}; choose a larger unit")
    if level is None:
        return
    needed = least_calibration(level)
    longest = min(_MOST_STEPS, num_origins + 1 - needed)
    if longest < 1:
        raise UserError(
            f"intervals of level {level:g} need {needed} past forecasts, but the second half of the series has "
            f"only {num_origins} points; lower the level, or omit it"
        )
    if horizon > longest:
        raise UserError(
            f"no intervals of level {level:g} for {_steps(horizon)} ahead: the series allows them for at most "
            f"{_steps(longest)}; lower the horizon or the level, or omit it"
        )


def _steps(number: int) -> str:
    return f"{number} step{'s' if number > 1 else ''}"


def _named(
    name: str, x: Array, p: BacktestParams, params: ForecastingParams, output_chunk_length: int
) -> Forecaster:
    """Return the forecaster of a name."""
    if name in CANDIDATES:
        return candidates(x, p, params.choose_tau, output_chunk_length, [name])[name]
    trainable = {
        f"{strategy}_{entry}": (strategy, entry) for strategy in LAG_STRATEGIES for entry in params.train_ar
    }
    if name not in trainable:
        raise UserError(f"unknown strategy; choose from {', '.join([*CANDIDATES, *trainable])}")
    # Imported here: torch takes two seconds.
    from timemachine.forecasting.training.side_by_side import trained_regressor

    strategy, entry = trainable[name]
    recipe = params.train_ar[entry].model_copy(update={"standardize": True})
    return lag_forecaster(strategy, trained_regressor(recipe), recipe.tau, output_chunk_length)


def _intervals(tested: Backtest, level: float, num_calibration: int) -> tuple[Array, float | None]:
    """Return the half widths of the final forecast, and the coverage at the rolling origins."""
    widths = half_widths(tested.errors, [level], num_calibration)[0, ..., 0]  # (num_origins + 1, horizon)
    checked = np.isfinite(widths[:-1]) & ~np.isnan(tested.errors[0])
    held = (np.abs(tested.errors[0]) <= widths[:-1])[checked]
    return widths[-1], float(held.mean()) if held.size else None
