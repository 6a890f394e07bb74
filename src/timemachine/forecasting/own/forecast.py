"""Forecast a series of your own beyond its end.

The errors of forecasts from rolling origins compare the candidates. The forecast is the mean of the best ones,
fitted to the whole series. At each rolling origin, the same choice is made from the errors that are known there.
The errors of these means say how good the forecast is, and give the width of the prediction intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from timemachine.base.errors import UserError, about
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.own.intervals import pooled_half_widths
from timemachine.forecasting.own.strategies import named_strategy
from timemachine.forecasting.strategies.backtest import backtest, true_values
from timemachine.forecasting.strategies.baselines import last_value
from timemachine.forecasting.strategies.combination import choose, known_from, largest_ratio, mean_of
from timemachine.forecasting.strategies.pool import Candidate, is_few, pool, seasons_of

_LEAST_POINTS = 6
# The cost of rolling origins is proportional to their number times the steps ahead, and the distant past says
# little about the end of a series.
_MOST_POINTS, _MOST_ORIGINS, _MOST_STEPS = 5000, 1000, 200
# The coverage of intervals is measured at so many origins, the last ones.
_NUM_COVERED = 50
# Larger observations, and forecasts of more than so many times the largest one, cannot be drawn.
_LARGEST_OBSERVATION, _LARGEST_FORECAST = 1e280, 1e18
# Forecasts from rolling origins are bounded by so many times the largest observation.
_MOST_TIMES = 1e6


@dataclass(frozen=True)
class Forecast:
    """The forecast of a series, and its errors at rolling origins.

    Attributes:
        x: (horizon,) the forecast, the mean of those of `strategies`.
        lower, upper: (horizon,) bounds of the intervals; None without intervals.
        level: nominal probability that an interval contains the true value; None without intervals.
        coverage: the share of true values inside the intervals at rolling origins; None if no origin has enough
            errors before it for an interval.
        strategies: names of the strategies, the best first.
        mae: mean absolute error of the forecast over all origins and steps; at each origin, the strategies are
            chosen by the errors before it.
        ranking: the same of each candidate that was tried, the smallest first.
        seasons: periods of the season that was used, in steps.
        in_logs: whether most of the strategies, and the intervals, are of logarithms.
        first: index in the series of the first rolling origin.
        rolling: (num_origins, num_steps) forecasts from rolling origins.
    """

    x: Array
    lower: Array | None
    upper: Array | None
    level: float | None
    coverage: float | None
    strategies: Sequence[str]
    mae: float
    ranking: Mapping[str, float]
    seasons: Sequence[int]
    in_logs: bool
    first: int
    rolling: Array


@dataclass(frozen=True)
class Options:
    """What the user decides.

    Attributes:
        strategy: the only strategy; None for the best ones.
        level: level of intervals; None for no intervals.
        log: whether to forecast logarithms; None leaves it to rolling origins.
        lower: the smallest possible value; None if there is none.
        recipes: entries of `train_ar`, for strategies that are trained.
    """

    strategy: str | None = None
    level: float | None = None
    log: bool | None = None
    lower: float | None = None
    recipes: Mapping[str, ArRecipe] | None = None


def forecast_series(
    series: Array,
    calendar: Sequence[int],
    horizon: int,
    options: Options | None = None,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> Forecast:
    """Forecast a series beyond its end.

    Args:
        series: (T,) at least 6 values; only the last 5,000 are used.
        calendar: periods that the step between times implies, for example 12 for months.
        horizon: number of steps, at most T.
        options: strategy, intervals and bounds.
        show: reports progress: steps done, their number, and what they are.

    Raises:
        UserError: the strategy is unknown; the series is too short for the strategy, the horizon or the level; a
            value does not fit the options, is above 1e280, or the forecast grows without bound.
    """
    options = options or Options()
    _check(series, horizon, options)
    x = series[-_MOST_POINTS:]
    # Scaled by a power of 2, which is exact, so that squares neither overflow nor underflow.
    exponent = int(np.frexp(np.abs(x).max())[1])
    x = np.ldexp(x, -exponent)
    calendar = [season for season in calendar if season < len(x)]
    first = _first_origin(len(x), calendar, horizon)
    num_steps = min(horizon, len(x) - first, _MOST_STEPS)
    seasons = seasons_of(x[:first], calendar)
    candidates = _candidates(x, first, num_steps, seasons, options)
    predictions = _backtests(x, first, num_steps, candidates, options.strategy is not None, show)
    names, stacked = list(predictions), np.stack(list(predictions.values()))
    true = true_values(x[None], first, num_steps)[0]
    chosen = choose(stacked - true, [candidates[name].method for name in names], largest_ratio(len(x)))
    lower = -np.inf if options.lower is None else np.ldexp(options.lower, -exponent)
    rolling = np.maximum(mean_of(stacked, chosen[:-1]), lower)
    best = [names[i] for i in chosen[-1] if i >= 0]
    predicted = np.maximum(np.mean([_final(candidates[name], x, horizon, name) for name in best], axis=0), lower)
    in_logs = sum(candidates[name].in_logs for name in best) > len(best) / 2 and all(
        (np.nan_to_num(values, nan=1) > 0).all() for values in (rolling, true, predicted)
    )
    found, coverage = [predicted], None
    if options.level is not None:
        reach, coverage = _intervals(rolling, true, in_logs, horizon, options.level)
        with np.errstate(over="ignore", invalid="ignore"):
            found += [predicted * np.exp(end) if in_logs else predicted + end for end in (-reach, reach)]

    def in_unit(values: Array) -> Array:
        with np.errstate(over="ignore"):
            scaled = np.ldexp(values, exponent)
        return scaled if options.lower is None else np.maximum(scaled, options.lower)

    bounded = [in_unit(values) for values in found]
    if not all((np.abs(values) < _LARGEST_FORECAST).all() for values in found) or not np.isfinite(bounded).all():
        raise UserError(f"{', '.join(best)}: the forecasts grow without bound; choose another strategy")
    predictions |= {"last_value": backtest(last_value, x[None], first, num_steps).predictions[0]}
    mae, *scores = (_mae(values - true, exponent) for values in (rolling, *predictions.values()))
    ranking = dict(sorted(zip(predictions, scores, strict=True), key=lambda item: item[1]))
    return Forecast(
        bounded[0],
        bounded[1] if len(bounded) > 1 else None,
        bounded[2] if len(bounded) > 1 else None,
        options.level,
        coverage,
        best,
        mae,
        ranking,
        seasons,
        in_logs,
        len(series) - len(x) + first,
        in_unit(rolling),
    )


def _check(x: Array, horizon: int, options: Options) -> None:
    """Check that there are enough points, and that the values fit the options."""
    if len(x) < _LEAST_POINTS:
        raise UserError(f"{len(x)} points are too few for a forecast; at least {_LEAST_POINTS} are needed")
    if horizon > len(x):
        raise UserError(
            f"--horizon: {horizon} is more than the {len(x)} points of the series; choose at most {len(x)}"
        )
    if (largest := float(np.abs(x).max())) > _LARGEST_OBSERVATION:
        raise UserError(f"a value of {largest:g} is beyond {_LARGEST_OBSERVATION:g}; choose a larger unit")
    smallest = float(x.min())
    if options.log and smallest <= 0:
        raise UserError(f"--log needs positive values; the smallest is {smallest:g}")
    if options.lower is not None and smallest < options.lower:
        raise UserError(f"--lower: the series has values below {options.lower:g}; the smallest is {smallest:g}")


def _first_origin(num_points: int, calendar: Sequence[int], horizon: int) -> int:
    """Return the first rolling origin: the middle of the series, later if that is needed to know two seasons."""
    first = num_points - num_points // 2
    if calendar and not is_few(num_points, calendar):
        first = max(first, min(2 * min(calendar) + 1, num_points - 1))
    return max(first, num_points - _MOST_ORIGINS - min(horizon, _MOST_STEPS))


def _candidates(
    x: Array, first: int, num_steps: int, seasons: Sequence[int], options: Options
) -> dict[str, Candidate]:
    """Return the candidates, or the strategy that the options name."""
    if (name := options.strategy) is None:
        return pool(x[:first], len(x), seasons, options.log)
    with about(name):
        shown = f"log_{name.removeprefix('log_')}" if options.log else name
        return {shown: named_strategy(name, x, first, num_steps, seasons, options.log, options.recipes or {})}


def _backtests(
    x: Array,
    first: int,
    num_steps: int,
    candidates: Mapping[str, Candidate],
    strict: bool,
    show: Callable[[int, int, str], object],
) -> dict[str, Array]:
    """Return forecasts from rolling origins (num_origins, num_steps) by candidate.

    Candidates that the series is too short for are left out, unless `strict`. Forecasts that grow too far are cut.
    """
    found: dict[str, Array] = {}
    for i, (name, one) in enumerate(candidates.items()):
        show(i, len(candidates), f"strategies, {name}")
        try:
            test = backtest(one.forecaster, x[None], first, num_steps, one.num_folds)
        except UserError as error:
            if strict:
                raise UserError(f"{name}: {error}") from None
            continue
        found[name] = np.clip(np.nan_to_num(test.predictions[0], nan=_MOST_TIMES), -_MOST_TIMES, _MOST_TIMES)
    show(len(candidates), len(candidates), "strategies")
    return found


def _mae(errors: Array, exponent: int) -> float:
    return float(np.ldexp(np.nanmean(np.abs(errors)), exponent))


def _final(candidate: Candidate, x: Array, horizon: int, name: str) -> Array:
    with about(name):
        return candidate.forecaster(x[None])(x[None], np.array([len(x)]), horizon)[0, 0]


def _intervals(
    rolling: Array, true: Array, in_logs: bool, horizon: int, level: float
) -> tuple[Array, float | None]:
    """Return the half widths of the final forecast, and the coverage at the last rolling origins.

    Widths and errors are of logarithms if `in_logs`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.log(true) - np.log(rolling) if in_logs else true - rolling
    widths = pooled_half_widths(errors, horizon, level)
    num_origins, num_steps = errors.shape
    first_known = known_from(num_origins, num_steps)
    inside: list[Array] = []
    for origin in range(max(1, num_origins - _NUM_COVERED), num_origins):
        known = np.where(first_known <= origin, errors, np.nan)[:origin]
        with suppress(UserError):  # too few errors are known
            reach = pooled_half_widths(known, num_steps, level)
            inside.append((np.abs(errors[origin]) <= reach)[~np.isnan(errors[origin])])
    return widths, float(np.concatenate(inside).mean()) if inside else None
