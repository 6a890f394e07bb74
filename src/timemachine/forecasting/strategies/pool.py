"""The candidates for one series: baselines, exponential smoothing, theta and ridge regression.

Each candidate is a composition of forecasters and transforms with fixed knobs; rolling origins compare them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from timemachine.forecasting.models.regression import Array, ridge
from timemachine.forecasting.strategies.baselines import drift, find_period, last_value, mean, periodic
from timemachine.forecasting.strategies.harmonic import harmonic
from timemachine.forecasting.strategies.lag_strategies import Forecaster, lag_forecaster
from timemachine.forecasting.strategies.smoothing import Components, exponential_smoothing, theta
from timemachine.forecasting.strategies.transforms import differenced, logged, seasonally_adjusted

# With fewer values, or fewer periods of the shortest season, rolling origins say little about a choice.
_FEW_VALUES, _FEW_PERIODS = 25, 3
# Of ridge regression, times the variance of the series. A fixed value saves the time of a choice
# among several.
_PENALTY = 3.0
_LONGEST_LAGS = 128
_NUM_FOLDS, _NUM_HARMONIC_FOLDS, _NUM_HARMONICS = 12, 3, 3


@dataclass(frozen=True)
class Candidate:
    """A forecaster, and how often rolling origins refit it.

    Attributes:
        forecaster: the forecaster.
        method: the name that it shares with the candidates that differ from it in the number of lags, in
            logarithms or in the kind of season.
        num_folds: number of groups of consecutive origins that share a fit. A forecaster that uses all values
            before each origin in any case has 1.
        in_logs: whether it forecasts logarithms.
    """

    forecaster: Forecaster
    method: str
    num_folds: int = 1
    in_logs: bool = False


def seasons_of(x: Array, calendar: Sequence[int]) -> tuple[int, ...]:
    """Return the periods of the candidates for a series whose first values are x (n,), the shortest first.

    Args:
        x: the values before the first rolling origin.
        calendar: periods that the step between times implies.

    Returns:
        The periods of the calendar; if there are none, the period that `find_period` finds, if any.
    """
    if calendar:
        return tuple(calendar)
    found = find_period(x)
    return (found,) if found > 1 else ()


def is_few(num_points: int, seasons: Sequence[int]) -> bool:
    """Return whether a series is too short for a choice among many candidates."""
    return num_points < max(_FEW_VALUES, _FEW_PERIODS * min(seasons, default=1))


def pool(x: Array, num_points: int, seasons: Sequence[int], log: bool | None = None) -> dict[str, Candidate]:
    """Return the candidates for a series by name.

    Args:
        x: (n,) the values before the first rolling origin. Logarithms and multiplicative seasons are candidates if
            these are positive.
        num_points: length of the whole series.
        seasons: `seasons_of` the series.
        log: whether to forecast logarithms; None for both.
    """
    if is_few(num_points, seasons):
        return few_candidates(seasons, log)
    return many_candidates(x, num_points, seasons, log)


def few_candidates(seasons: Sequence[int], log: bool | None = None) -> dict[str, Candidate]:
    """Return the candidates for a series of few values."""
    found = {"theta": theta(), "damped_trend": exponential_smoothing(Components(trend=True)), "drift": drift}
    if seasons:
        found = {f"adjusted_{name}": seasonally_adjusted(one, seasons[0]) for name, one in found.items()}
    candidates = {name: Candidate(one, name, _NUM_FOLDS) for name, one in found.items()}
    return _in_logs(candidates) if log else candidates


def many_candidates(
    x: Array, num_points: int, seasons: Sequence[int], log: bool | None = None
) -> dict[str, Candidate]:
    """Return the candidates for a series of many values; arguments as of `pool`."""
    positive = bool((x > 0).all())
    periods = [season for season in seasons if _FEW_PERIODS * season <= num_points and len(x) > season]
    found: dict[str, Candidate] = {}
    if not log:
        found = _linear(len(x), periods)
        if positive:
            found |= _multiplicative(periods)
        if not seasons:
            found["harmonic"] = Candidate(harmonic(_NUM_HARMONICS), "harmonic", _NUM_HARMONIC_FOLDS)
    if log or (positive and log is None):
        found |= _in_logs(_linear(len(x), periods))
    return found


def _linear(num_known: int, periods: Sequence[int]) -> dict[str, Candidate]:
    """Return the candidates whose forecast moves with the series when a constant is added to it."""
    found: dict[str, Forecaster] = {}
    for period in periods:
        found |= {
            f"theta_{period}": theta(period),
            f"holt_winters_{period}": exponential_smoothing(Components(period, trend=True)),
            f"seasonal_smoothing_{period}": exponential_smoothing(Components(period)),
            f"last_{period}_values": periodic(period),
        }
    found |= {
        "theta": theta(),
        "damped_trend": exponential_smoothing(Components(trend=True)),
        "simple_smoothing": exponential_smoothing(Components()),
        "drift": drift,
        "last_value": last_value,
        "mean": mean,
    }
    return {name: Candidate(one, name) for name, one in found.items()} | _ridges(num_known, periods)


def _multiplicative(periods: Sequence[int]) -> dict[str, Candidate]:
    found: dict[str, Forecaster] = {}
    for period in periods:
        found |= {
            f"theta_{period}": theta(period, multiplicative=True),
            f"holt_winters_{period}": exponential_smoothing(Components(period, True, True)),
            f"seasonal_smoothing_{period}": exponential_smoothing(Components(period, False, True)),
        }
    return {f"multiplicative_{name}": Candidate(one, name) for name, one in found.items()}


def _ridges(num_known: int, periods: Sequence[int]) -> dict[str, Candidate]:
    """Return recursive ridge regressions of the series and of its differences.

    The numbers of lags are 2, and a little more than each period and twice it; without a season powers of 2.
    """
    if periods:
        taus = [2, *(times * period + 1 for period in periods for times in (1, 2))]
    else:
        taus = [2**i for i in range(1, _LONGEST_LAGS.bit_length())]
    found: dict[str, Candidate] = {}
    for lag in (0, 1, *periods):
        for tau in sorted(set(taus)):
            if 2 * tau > num_known - lag:
                continue
            forecaster = lag_forecaster("recursive", ridge(_PENALTY), tau)
            if lag:
                forecaster = differenced(forecaster, lag)
            method = f"differenced_{lag}_ridge" if lag else "ridge"
            found[f"{method}_{tau}"] = Candidate(forecaster, method, _NUM_FOLDS)
    return found


def _in_logs(candidates: Mapping[str, Candidate]) -> dict[str, Candidate]:
    return {
        f"log_{name}": Candidate(logged(one.forecaster), one.method, one.num_folds, True)
        for name, one in candidates.items()
        if not name.startswith("last_") and name not in ("drift", "mean")
    }
