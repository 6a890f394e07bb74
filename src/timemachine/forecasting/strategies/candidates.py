"""All forecasters without training by gradient descent, by name; lags and penalties are chosen by backtests."""

from collections.abc import Callable, Collection

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array, ridge
from timemachine.forecasting.strategies.backtest import error_sums
from timemachine.forecasting.strategies.baselines import last_value, mean, seasonal_naive
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.harmonic import harmonic
from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES, Forecaster, by_series, lag_forecaster

Lags = tuple[int, float]

CLOSED_FORM = ("least_squares", "ridge")
WITHOUT_LAGS = ("last_value", "mean", "seasonal_naive", "harmonic")
CANDIDATES = (
    *WITHOUT_LAGS,
    *(f"{strategy}_{model}" for model in CLOSED_FORM for strategy in LAG_STRATEGIES),
)


def all_lags(model: str, p: BacktestParams, choose_tau: ChooseTauParams) -> list[Lags]:
    """Return all pairs of τ and penalty to choose from for a model of `CLOSED_FORM`, τ increasing.

    Every τ is at most half of the number of values before the first validation origin.
    """
    penalties = choose_tau.penalties if model == "ridge" else [0.0]
    taus = [tau for tau in sorted(choose_tau.taus) if 2 * tau <= p.first_validation]
    return [(tau, penalty) for tau in taus for penalty in penalties]


def choose_lags(
    x: Array,
    model: str,
    p: BacktestParams,
    choose_tau: ChooseTauParams,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> tuple[list[Lags], dict[Lags, Array]]:
    """Choose τ and penalty of the recursive forecast for each of the series x (num_series, num_observed).

    Args:
        x: the observed parts.
        model: one of `CLOSED_FORM`.
        p: the validation origins, and the number of steps ahead over which forecasts are compared.
        choose_tau: the values to choose from.
        show: reports progress: pairs done, their number, and what they are.

    Returns:
        The chosen pairs, one for each series, the first of equally good ones; and `ErrorSums.score` (num_series,)
        of all pairs.

    Raises:
        UserError: every τ is too long for the series.
    """
    lags = all_lags(model, p, choose_tau)
    if not lags:
        known = f"half of the first {p.first_validation} observations"
        raise UserError(f"no tau of {list(choose_tau.taus)} is at most {known}")
    origins = (p.first_validation, p.horizon, p.num_folds)
    scores = {}
    for tau, penalty in lags:
        scores[tau, penalty] = error_sums(lag_forecaster("recursive", ridge(penalty), tau), x, *origins).score()
        show(len(scores), len(lags), f"lags of {model}")
    return [lags[i] for i in np.stack([*scores.values()]).argmin(0)], scores


def candidates(
    x: Array,
    p: BacktestParams,
    choose_tau: ChooseTauParams,
    output_chunk_length: int,
    names: Collection[str] = CANDIDATES,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Forecaster]:
    """Return forecasters by name.

    All strategies of a model have the lags that are best for its recursive forecast, so that they differ only in
    the strategy.

    Args:
        x: (num_series, num_observed) the observed parts; τ and penalty are chosen for each series.
        p: see `choose_lags`; and the highest number of harmonics.
        choose_tau: see `choose_lags`.
        output_chunk_length: number of steps that direct and multi-output strategies forecast at a time.
        names: the entries of `CANDIDATES` to return.
        show: see `choose_lags`.

    Raises:
        UserError: a model has lags, and every τ is too long for the series.
    """
    found = dict(zip(WITHOUT_LAGS, (last_value, mean, seasonal_naive, harmonic(p.max_harmonics)), strict=True))
    for model in CLOSED_FORM:
        wanted = [strategy for strategy in LAG_STRATEGIES if f"{strategy}_{model}" in names]
        if wanted:
            chosen, _ = choose_lags(x, model, p, choose_tau, show)
            for strategy in wanted:
                forecasters = {
                    lags: lag_forecaster(strategy, ridge(lags[1]), lags[0], output_chunk_length) for lags in chosen
                }
                found[f"{strategy}_{model}"] = by_series([forecasters[lags] for lags in chosen])
    return {name: found[name] for name in CANDIDATES if name in names}
