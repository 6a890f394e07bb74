"""The methods of the pool as strategies of the pipeline, and the mean of the best five."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.backtest import backtest
from timemachine.forecasting.strategies.combination import (
    best_of_methods,
    choose,
    known_errors,
    largest_ratio,
    mean_forecaster,
)
from timemachine.forecasting.strategies.config import MEAN_OF_BEST, BacktestParams
from timemachine.forecasting.strategies.lag_strategies import Forecaster, by_series
from timemachine.forecasting.strategies.pool import pool, seasons_of


def pooled(
    x: Array,
    p: BacktestParams,
    calendar: Sequence[int],
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Forecaster]:
    """Return a forecaster for each method of the pool but plain ridge regression, and `MEAN_OF_BEST`.

    The validation origins choose for each series the candidate of each method, and those of the mean. Plain ridge
    regression, whose penalty is chosen too, is `recursive_ridge` of `candidates`.

    Args:
        x: (num_series, num_observed) the observed parts.
        p: the validation origins, and the number of steps ahead over which forecasts are compared.
        calendar: periods that the step between times implies.
        show: reports progress: candidates done, their number, and what they are.
    """
    known = x[0, : p.first_validation]
    candidates = pool(known, x.shape[1], seasons_of(known, calendar))
    found, errors = [], []
    for i, (name, one) in enumerate(candidates.items()):
        show(i, len(candidates), f"candidates, {name}")
        with suppress(UserError):  # the series is too short for it
            test = backtest(one.forecaster, x, p.first_validation, p.horizon, one.num_folds)
            found.append(one)
            errors.append(test.errors)
    show(len(candidates), len(candidates), "candidates")
    methods = [one.method for one in found]
    chosen: dict[str, list[Forecaster]] = {method: [] for method in (*methods, MEAN_OF_BEST)}
    for series in np.stack(errors, axis=1):  # (num_candidates, num_origins, horizon)
        for method, (one_best,) in best_of_methods(known_errors(series)[:, -1:], methods).items():
            chosen[method].append(found[one_best].forecaster)
        best = [i for i in choose(series, methods, largest_ratio(x.shape[1]))[-1] if i >= 0]
        chosen[MEAN_OF_BEST].append(mean_forecaster([found[i].forecaster for i in best]))
    return {name: by_series(forecasters) for name, forecasters in chosen.items() if name != "ridge"}
