"""Forecast a series of the user's own beyond its end.

Strategies are compared by the errors of their forecasts from rolling origins in the second half of the series. The
best, or the one that is asked for, is then fitted to the whole series and goes on from its end; how wrong it was
before says how far its intervals reach.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine.base.errors import UserError, about
from timemachine.base.files import write_table
from timemachine.forecasting.evaluation.conformal import half_widths, least_calibration
from timemachine.forecasting.evaluation.lags import choice_of
from timemachine.forecasting.series.own import future_times
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.baselines import last_value
from timemachine.forecasting.strategies.candidates import CANDIDATES, CLOSED_FORM, Choice, candidates
from timemachine.forecasting.strategies.strategies import STRATEGIES, Forecaster
from timemachine.plots.figure import save_figure
from timemachine.plots.forecasting import draw_fan

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params

Array = NDArray[np.float64]

# Fewer points than these beyond the horizon leave the first rolling origins next to nothing to be fitted to.
_LEAST_MORE_POINTS = 8
# Harmonic regressions of all of a longer series would take minutes, and say little about its end.
_MOST_POINTS = 10_000
# What rolling origins cost grows with their number times the steps that they look ahead.
_MOST_ORIGINS = 1000
_MOST_STEPS = 1000
# The final forecast is fitted to all values before its origin. Were those at rolling origins fitted as seldom as
# for a choice of lags, most would be made far from what they were fitted to, and err otherwise than the final one.
_NUM_FOLDS = 12
# Observations up to here, and forecasts up to so many times the largest of them, can still be drawn.
_LARGEST_OBSERVATION = 1e280
_LARGEST_FORECAST = 1e18


@dataclass(frozen=True)
class Intervals:
    """Prediction intervals around a forecast.

    Attributes:
        level: the probability with which they should hold.
        half_widths: (horizon,) how far they reach to both sides.
        coverage: the share of the true values that intervals made at rolling origins held; None if no origin had
            enough errors before it to make one.
    """

    level: float
    half_widths: Array
    coverage: float | None


@dataclass(frozen=True)
class OwnForecast:
    """What follows a series, and how well it is known.

    Attributes:
        strategy: the name of the strategy.
        time: (horizon,) numbers, or dates as text.
        x: (horizon,) the forecast.
        num_origins: number of rolling origins.
        num_steps: how many steps ahead they looked.
        rmse: of the strategy, over all of them; a little too good, because by these origins it was chosen.
        last_value_rmse: that of repeating the last value.
        intervals: where they were asked for.
    """

    strategy: str
    time: NDArray[np.generic]
    x: Array
    num_origins: int
    num_steps: int
    rmse: float
    last_value_rmse: float
    intervals: Intervals | None

    def summary(self) -> list[str]:
        """Say in a line each how good the strategy is, and how often its intervals held."""
        over = f"over {self.num_origins} rolling origins, up to {_steps(self.num_steps)} ahead"
        lines = [f"{self.strategy}: RMSE {self.rmse:.4g}, of the last value {self.last_value_rmse:.4g}, {over}"]
        if self.intervals is not None:
            held = self.intervals.coverage
            known = "are too few to check" if held is None else f"held {held:.3f} of the values"
            lines.append(f"intervals of level {self.intervals.level:g} {known} at these origins")
        return lines

    def write(self, series: Series, path: Path) -> None:
        """Write the forecast as CSV, and a figure of it beside with the same stem.

        Raises:
            UserError: the folder cannot be written to.
        """
        columns = {"time": self.time.tolist(), "forecast": self.x.tolist()}
        if self.intervals is not None:
            columns["lower"] = (self.x - self.intervals.half_widths).tolist()
            columns["upper"] = (self.x + self.intervals.half_widths).tolist()
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        figure = self.figure(series)
        for file, write in (
            (figure_path(path), lambda file: save_figure(figure, file)),
            (path, lambda file: write_table(file, rows)),
        ):
            try:
                write(file)
            except OSError as error:
                raise UserError(f"{file}: cannot be written: {error.strerror}") from None

    def figure(self, series: Series) -> Figure:
        """Draw the end of the series and what follows."""
        num_shown = max(4 * len(self.x), 60)
        time, x = series.time[-num_shown:], series.x[-num_shown:]
        bands = {} if self.intervals is None else {self.intervals.level: self.intervals.half_widths}
        return draw_fan(np.concatenate([time, self.time]), x, [(len(x), self.x, bands)])


def figure_path(path: Path) -> Path:
    """Return where the figure of a forecast lies whose CSV is at `path`."""
    return path.with_suffix(".png")


def output_path(path: Path, output: Path | None) -> Path:
    """Return where the forecast of the series at `path` goes: by default into the current folder.

    Raises:
        UserError: that is no CSV, or the series itself.
    """
    chosen = Path(f"{path.stem}_forecast.csv") if output is None else output
    if chosen.suffix != ".csv":
        raise UserError(f"{chosen}: the output must end in .csv; its figure ends in .png")
    if path.resolve() in (chosen.resolve(), figure_path(chosen).resolve()):
        raise UserError(f"{chosen}: the output would overwrite the series; choose another name")
    return chosen


def forecast(
    series: Series, horizon: int, params: "Params", strategy: str | None = None, level: float | None = None
) -> OwnForecast:
    """Forecast a series beyond its end.

    Args:
        series: at least horizon + 8 points; of a long one the last 10,000 count, or two horizons if that is more.
        horizon: how many steps.
        params: `choose_tau`, `backtest`, `intervals` and, for strategies of trained models, `train_ar`. Direct and
            multi-output strategies forecast at most `backtest.horizon` steps, and a quarter of what the first
            rolling origin knows, at a time, so that they have examples left to learn from.
        strategy: one of `CANDIDATES`, or `<strategy>_<entry of train_ar>`; None takes the best of `CANDIDATES`.
        level: of the intervals; None makes none.

    Raises:
        UserError: an unknown strategy, or one that is not possible; a series too short for it, for the horizon or
            for the level; a value beyond 1e280, or a forecast that grows without bound.
    """
    observed = _last_points(series, horizon)
    num_points = len(observed)
    calibration = params.intervals.num_calibration
    if level is not None:
        _check_level(level, horizon, num_points - num_points // 2)
        calibration = max(calibration, least_calibration(level))
    choice = _choice(num_points, horizon, calibration, params)
    output_chunk_length = max(1, min(horizon, params.backtest.horizon, choice.first // 4))

    # By a power of 2, which changes no digit, so that no square is too large or too small.
    exponent = int(np.frexp(np.abs(observed).max())[1])
    x = np.ldexp(observed, -exponent)[None]  # (1, T)
    if strategy is None:
        strategy, forecaster, tested = _best(x, choice, output_chunk_length)
    else:
        with about(strategy):
            forecaster = _named(strategy, x, choice, output_chunk_length, params)
            tested = _test(forecaster, x, choice)
    with about(strategy):
        predicted = forecaster(x)(x, np.array([num_points]), horizon)[0, 0]
    plain = _test(last_value, x, choice)
    with np.errstate(over="ignore"):
        values = np.ldexp(predicted, exponent)
        rmse, last_value_rmse = (float(np.ldexp(one.score()[0], exponent)) for one in (tested, plain))
        intervals = None if level is None else _intervals(tested, level, calibration, exponent)
        reach = 0.0 if intervals is None else intervals.half_widths
        finite = np.isfinite([values - reach, values + reach]).all() and np.isfinite([rmse, last_value_rmse]).all()
    if not (finite and (np.abs(predicted) < _LARGEST_FORECAST).all()):
        raise UserError(f"{strategy}: the forecasts grow without bound; choose another strategy")
    time = future_times(series, horizon)
    num_origins = num_points - choice.first
    return OwnForecast(strategy, time, values, num_origins, choice.horizon, rmse, last_value_rmse, intervals)


def _last_points(series: Series, horizon: int) -> Array:
    """Return the end of a series that a forecast is made from, checked."""
    observed = series.x[-max(_MOST_POINTS, 2 * horizon) :]
    needed = horizon + _LEAST_MORE_POINTS
    if len(observed) < needed:
        raise UserError(
            f"{len(observed)} points are too few for {_steps(horizon)} ahead; at least {needed} are needed"
        )
    if (largest := float(np.abs(observed).max())) > _LARGEST_OBSERVATION:
        raise UserError(f"a value of {largest:g} is beyond {_LARGEST_OBSERVATION:g}; choose a larger unit")
    return observed


def _choice(num_points: int, horizon: int, num_calibration: int, params: "Params") -> Choice:
    """Return by which rolling origins of the second half, the latest where there are many, to choose."""
    half = num_points - num_points // 2
    num_steps = min(horizon, half, _MOST_STEPS)
    first = num_points - min(half, max(_MOST_ORIGINS, num_calibration) + num_steps)
    return replace(choice_of(params), first=first, horizon=num_steps)


def _steps(number: int) -> str:
    return f"{number} step{'s' if number > 1 else ''}"


def _check_level(level: float, horizon: int, num_origins: int) -> None:
    """Check that forecasts from so many origins leave enough errors at the horizon for the level."""
    needed = least_calibration(level)
    longest = min(_MOST_STEPS, num_origins + 1 - needed)
    if longest < 1:
        raise UserError(
            f"intervals of level {level:g} need {needed} past forecasts, but the second half of the series has "
            f"only {num_origins} points; lower the level, or ask for none"
        )
    if horizon > longest:
        raise UserError(
            f"no intervals of level {level:g} for {_steps(horizon)} ahead: the series allows them for at most "
            f"{_steps(longest)}; lower the horizon or the level, or ask for none"
        )


def _test(forecaster: Forecaster, x: Array, choice: Choice) -> Backtest:
    return backtest(forecaster, x, choice.first, choice.horizon, _NUM_FOLDS)


def _best(x: Array, choice: Choice, output_chunk_length: int) -> tuple[str, Forecaster, Backtest]:
    """Return the best of `CANDIDATES` and its backtest; those for which the series is too short are left out."""
    found: dict[str, Forecaster] = {"last_value": last_value}
    for model in ("", *CLOSED_FORM):
        with suppress(ValueError):
            found |= candidates(x, choice, output_chunk_length, _names(model))
    best = "last_value"
    tested = _test(last_value, x, choice)
    for name, forecaster in found.items():
        with suppress(ValueError):
            other = _test(forecaster, x, choice)
            if other.score()[0] < tested.score()[0]:
                best, tested = name, other
    return best, found[best], tested


def _names(model: str) -> list[str]:
    """Return the names of a closed form's candidates, or of those without one."""
    return [name for name in CANDIDATES if name.endswith(model) and (model or not name.endswith(CLOSED_FORM))]


def _named(name: str, x: Array, choice: Choice, output_chunk_length: int, params: "Params") -> Forecaster:
    """Return the forecaster of a name."""
    if name in CANDIDATES:
        return candidates(x, choice, output_chunk_length, [name])[name]
    trainable = {f"{strategy}_{entry}": (strategy, entry) for strategy in STRATEGIES for entry in params.train_ar}
    if name not in trainable:
        raise UserError(f"no such strategy; known: {', '.join([*CANDIDATES, *trainable])}")
    # torch takes two seconds.
    from timemachine.forecasting.training.side_by_side import trained
    from timemachine.training.devices import choose_device

    strategy, entry = trainable[name]
    recipe = params.train_ar[entry].model_copy(update={"standardize": True})
    return STRATEGIES[strategy](trained(recipe, choose_device(recipe.device)), recipe.tau, output_chunk_length)


def _intervals(tested: Backtest, level: float, num_calibration: int, exponent: int) -> Intervals:
    """Return the intervals of the forecast after all rolling origins, and how often those before held."""
    widths = half_widths(tested.errors, [level], num_calibration)[0, ..., 0]  # (num_origins + 1, horizon)
    checked = np.isfinite(widths[:-1]) & ~np.isnan(tested.errors[0])
    held = (np.abs(tested.errors[0]) <= widths[:-1])[checked]
    return Intervals(level, np.ldexp(widths[-1], exponent), float(held.mean()) if held.size else None)
