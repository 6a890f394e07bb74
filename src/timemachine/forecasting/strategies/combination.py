"""The mean of the candidates with the smallest errors at rolling origins, chosen anew at each origin."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, Origins

NUM_BEST = 5
# Larger errors count as this one, so that sums stay finite; the largest value of a scaled series is 1.
_LARGEST_ERROR = 1e9


def known_from(num_origins: int, horizon: int) -> NDArray[np.int64]:
    """Return the first origin at which each error is known: i + k for the forecast k steps ahead of origin i.

    The shape is (num_origins, horizon).
    """
    return np.add.outer(np.arange(num_origins), np.arange(1, horizon + 1))


def known_errors(errors: Array) -> Array:
    """Return the sums of absolute errors that are known at each origin, and after the last one.

    Args:
        errors: (num_candidates, num_origins, horizon) at consecutive origins, as `Backtest.errors`; NaN beyond the
            end of the series.

    Returns:
        (num_candidates, num_origins + 1).
    """
    num_candidates, num_origins, horizon = errors.shape
    absolute = np.minimum(np.where(np.isnan(errors), 0.0, np.abs(errors)), _LARGEST_ERROR)
    places = np.broadcast_to(np.minimum(known_from(num_origins, horizon), num_origins), absolute.shape)
    rows = np.arange(num_candidates)[:, None, None] * (num_origins + 1)
    sums = np.bincount((rows + places).ravel(), absolute.ravel(), num_candidates * (num_origins + 1))
    return np.cumsum(sums.reshape(num_candidates, -1), axis=1)


def largest_ratio(num_points: int) -> float:
    """Return how many times the smallest mean absolute error that of a chosen candidate may be.

    The longer a series is, the surer is the difference between two errors.

    Args:
        num_points: length of the series.
    """
    return 1 + 300 / num_points


def best_of_methods(sums: Array, methods: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return the index of the candidate of each method with the smallest sum, the first of equal ones.

    Args:
        sums: (num_candidates, num_origins).
        methods: the method of each candidate.

    Returns:
        (num_origins,) indices of candidates by method.
    """
    found = {}
    for method in dict.fromkeys(methods):
        members = np.array([i for i, one in enumerate(methods) if one == method])
        found[method] = members[sums[members].argmin(axis=0)]
    return found


def choose(errors: Array, methods: Sequence[str], ratio: float, num_best: int = NUM_BEST) -> NDArray[np.int64]:
    """Return the candidates with the smallest known errors at each origin, and after the last one, best first.

    Of the candidates of one method only the best is chosen, so that the mean is not one of near copies. Of equal
    ones, and where no error is known yet, the first are chosen.

    Args:
        errors: as of `known_errors`.
        methods: the method of each candidate.
        ratio: no candidate is chosen whose mean absolute error is more than so many times the smallest one.
        num_best: number of candidates to choose.

    Returns:
        (num_origins + 1, n) indices, −1 for none; n is `num_best`, or the number of methods if that is less.
    """
    sums = known_errors(errors)
    best = np.stack([*best_of_methods(sums, methods).values()])  # (num_methods, num_origins + 1)
    smallest = np.take_along_axis(sums, best, axis=0)
    order = np.argsort(smallest, axis=0, kind="stable")[:num_best]  # (n, num_origins + 1)
    chosen, known = (np.take_along_axis(one, order, axis=0) for one in (best, smallest))
    return np.where(known <= ratio * known[0], chosen, -1).T


def mean_of(predictions: Array, chosen: NDArray[np.int64]) -> Array:
    """Return the means over the chosen candidates at each origin.

    Args:
        predictions: (num_candidates, num_origins, horizon).
        chosen: (num_origins, n) indices of candidates, −1 for none.

    Returns:
        (num_origins, horizon).
    """
    used = (chosen >= 0)[..., None]
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.where(used, predictions[chosen, np.arange(len(chosen))[:, None]], 0)
        return values.sum(axis=1) / used.sum(axis=1)


def mean_forecaster(forecasters: Sequence[Forecaster]) -> Forecaster:
    """Return the forecaster whose forecast is the mean of those of others."""

    def fit(x: Array) -> FittedForecaster:
        fitted = [forecaster(x) for forecaster in forecasters]

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            with np.errstate(over="ignore", invalid="ignore"):
                total = np.zeros((len(x), len(origins), horizon))
                for one in fitted:
                    total += one(x, origins, horizon)
                return total / len(fitted)

        return forecast

    return fit
