"""The error of linear forecasts by the embedding dimension τ, the number of past observations."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from timemachine.forecasting.evaluation.tables import finite
from timemachine.forecasting.models.regression import Array, Problem, affine, ridge
from timemachine.forecasting.series.config import SeriesParams
from timemachine.forecasting.series.source import Series, noisy_sine, replicas
from timemachine.forecasting.strategies.candidates import CLOSED_FORM, Lags, choose_lags
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams


def errors_by_tau(
    series: Series,
    p: SeriesParams,
    backtest: BacktestParams,
    choose_tau: ChooseTauParams,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Any]:
    """Return errors of recursive linear forecasts by τ, over rolling origins of the observed part.

    Args:
        series: the noisy sine, or a series of your own.
        p: what the series is; of the noisy sine, those of the following seeds are used too.
        backtest: the observed part and the rolling origins.
        choose_tau: the embedding dimensions and penalties.
        show: as of `choose_lags`.

    Returns:
        For least squares and ridge, the number of series that chose each τ, and by τ the RMSE one step ahead and
        over all horizons, means over series. For the sine also the same without noise, and the coefficients of a
        regression with two lags next to those of its recurrence x_t = 2 cos(ω) x_{t−1} − x_{t−2}.
    """
    x = replicas(series, p, backtest.num_seeds)[:, : backtest.num_observed]
    report: dict[str, Any] = {"with_noise": _errors(x, backtest, choose_tau, show)}
    if p.csv is None:
        exact = noisy_sine(p.num_points, p.frequency, 0.0, p.seed).x[None, : backtest.num_observed]
        report["without_noise"] = _errors(exact, backtest, choose_tau, show)
        (predict,) = ridge(0)(exact, [Problem(2, (1,))])
        found = affine(predict, 1, 2).weights[0, ::-1, 0]
        report["two_lags"] = {"found": found.tolist(), "exact": [2 * math.cos(p.frequency), -1.0]}
    return report


def _errors(
    x: Array, p: BacktestParams, choose_tau: ChooseTauParams, show: Callable[[int, int, str], object]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for model in CLOSED_FORM:
        chosen, scores = choose_lags(x, model, p, choose_tau, show)
        _, one_step = choose_lags(x, model, p.model_copy(update={"horizon": 1}), choose_tau, show)
        found[model] = {
            "chosen": {str(tau): count for tau, count in sorted(Counter(tau for tau, _ in chosen).items())},
            "one_step_rmse": _by_tau(one_step),
            "rmse": _by_tau(scores),
        }
    return found


def _by_tau(scores: Mapping[Lags, Array]) -> dict[str, float | None]:
    """Return the mean over series of the score with the best penalty of each series; None if it is infinite."""
    taus = dict.fromkeys(tau for tau, _ in scores)
    lowest = {tau: np.min([score for (t, _), score in scores.items() if t == tau], axis=0) for tau in taus}
    return {str(tau): finite(score.mean()) for tau, score in lowest.items()}
