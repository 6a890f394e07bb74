"""Backtests of all forecasting strategies, on noisy sines of many seeds or on a series of your own."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.tables import at_horizons, finite
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.backtest import error_sums
from timemachine.forecasting.strategies.candidates import CLOSED_FORM, candidates
from timemachine.forecasting.strategies.config import MEAN_OF_BEST, BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.lag_strategies import (
    LAG_STRATEGIES,
    FittedForecaster,
    Forecaster,
    lag_forecaster,
)
from timemachine.forecasting.strategies.pooled import pooled
from timemachine.forecasting.training.side_by_side import trained_regressor

Result = dict[str, Array]


def all_forecasters(
    x: Array,
    p: BacktestParams,
    choose_tau: ChooseTauParams,
    recipes: Mapping[str, ArRecipe],
    calendar: Sequence[int] = (),
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Forecaster]:
    """Return all forecasters to compare by name; those without training by gradient descent come first.

    Args:
        x: (num_series, num_observed) the values by which lags and penalties are chosen.
        p: the strategies of trained models.
        choose_tau: the lags and penalties to choose from.
        recipes: entries of `train_ar`.
        calendar: periods that the step between times implies.
        show: as of `choose_lags`.

    Raises:
        UserError: two forecasters have the same name.
    """
    found = candidates(x, p, choose_tau, p.horizon, show=show)
    found |= {name: one for name, one in pooled(x, p, calendar, show).items() if name not in found}
    for name, strategies in p.trained.items():
        regress = trained_regressor(recipes[name])
        for strategy in strategies:
            if f"{strategy}_{name}" in found:
                raise UserError(
                    f"trained: two forecasters have the name {strategy}_{name}; rename train_ar.{name}"
                )
            found[f"{strategy}_{name}"] = lag_forecaster(strategy, regress, recipes[name].tau, p.horizon)
    return found


def backtest_forecaster(forecaster: Forecaster, x: Array, p: BacktestParams) -> Result:
    """Backtest a forecaster on series x (num_series, T).

    Returns:
        `validation` (num_series,), the RMSE over rolling origins of the observed part and all horizons.
        `multistep` (num_series, T − num_observed), predictions made from the observed part alone.
        `once_rmse`, `once_mae` and `once_spread` (num_series, horizon), the measures of `ErrorSums` over all later
        origins, fitted to the observed part; `anew_…`, the same, refitted before each fold of origins.
    """
    observed = x[:, : p.num_observed]
    validation = error_sums(forecaster, observed, p.first_validation, p.horizon, p.num_folds).score()
    fitted = forecaster(observed)

    def fitted_before(past: Array) -> FittedForecaster:
        return fitted if past.shape[1] == p.num_observed else forecaster(past)

    multistep = fitted(x, np.array([p.num_observed]), x.shape[1] - p.num_observed)[:, 0]
    result = {"validation": validation, "multistep": multistep}
    for name, num_folds in (("once", 1), ("anew", p.num_folds)):
        test = error_sums(fitted_before, x, p.num_observed, p.horizon, num_folds)
        result |= {f"{name}_rmse": test.rmse(), f"{name}_mae": test.mae(), f"{name}_spread": test.spread()}
    return result


def backtest_all(
    forecasters: Mapping[str, Forecaster],
    x: Array,
    p: BacktestParams,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Result]:
    """Return `backtest_forecaster` of each forecaster, by name.

    Args:
        forecasters: by name.
        x: (num_series, T).
        p: the rolling origins.
        show: reports progress: forecasters done, their number, and the name of the present one.
    """
    results = dict[str, Result]()
    for name, forecaster in forecasters.items():
        show(len(results), len(forecasters), f"strategies, {name}")
        results[name] = backtest_forecaster(forecaster, x, p)
    return results


def backtest_report(results: Mapping[str, Result], x: Array, ks: Sequence[int]) -> dict[str, Any]:
    """Return the errors of all forecasters, and of the best one of each series by validation error.

    The mean of the best is not among those to choose from, because the same errors have chosen its members.

    All are means over series. Names that end in `_std` are standard deviations over series, except
    `k_step_origins_std`, the standard deviation of the absolute error over origins.

    Args:
        results: of `backtest_forecaster`, by name.
        x: (num_series, T).
        ks: horizons to report.
    """
    single, rows = _single(results), np.arange(len(x))
    names = list(single)
    chosen = np.stack([result["validation"] for result in single.values()]).argmin(0)  # (num_series,)
    best = {key: np.stack([one[key] for one in single.values()])[chosen, rows] for key in single[names[0]]}
    counts = Counter(names[i] for i in chosen)
    return {
        "num_series": len(x),
        "chosen": {"strategies": dict(counts.most_common()), **_errors(best, x, ks)},
        "strategies": {name: _errors(result, x, ks) for name, result in results.items()},
    }


def _single(results: Mapping[str, Result]) -> dict[str, Result]:
    return {name: result for name, result in results.items() if name != MEAN_OF_BEST}


def _errors(result: Result, x: Array, ks: Sequence[int]) -> dict[str, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        multistep = result["multistep"] - x[:, -result["multistep"].shape[1] :]
        rmse, mae = np.sqrt(np.square(multistep).mean(1)), np.abs(multistep).mean(1)
        numbers = {
            "validation_rmse": result["validation"].mean(),
            "multistep_rmse": rmse.mean(),
            "multistep_rmse_std": rmse.std(),
            "multistep_mae": mae.mean(),
        }
    once = _over_series(result, "once")
    curves = {f"k_step_{name}": once[name] for name in ("rmse", "rmse_std", "origins_std", "mae")}
    curves["k_step_rmse_refitted"] = _over_series(result, "anew")["rmse"]
    report = {name: finite(value) for name, value in numbers.items()}
    return report | {name: at_horizons(curve, ks) for name, curve in curves.items()}


def _over_series(result: Result, fitted: str) -> Result:
    """Return means and standard deviations over series by horizon: (horizon,) each."""
    rmse, mae, spread = (result[f"{fitted}_{measure}"] for measure in ("rmse", "mae", "spread"))
    with np.errstate(invalid="ignore"):
        means = {"rmse": rmse.mean(0), "rmse_std": rmse.std(0), "mae": mae.mean(0), "mae_std": mae.std(0)}
        return means | {"origins_std": spread.mean(0)}


def errors_by_horizon(results: Mapping[str, Result], p: BacktestParams) -> dict[tuple[str, ...], Result]:
    """Return curves over the horizon by strategy, lag strategy, model, and `once` or `anew`.

    Lag strategy and model are the parts of the name; they are empty for forecasters without lags. RMSE and MAE
    are over origins; the curves are their means and standard deviations over series. `origins_std` is the
    standard deviation of the absolute error over origins, mean over series.
    """
    parts = {f"{lags}_{model}": (lags, model) for lags in LAG_STRATEGIES for model in (*p.trained, *CLOSED_FORM)}
    return {
        (name, *parts.get(name, ("", "")), fitted): _over_series(result, fitted)
        for name, result in results.items()
        for fitted in ("once", "anew")
    }


def multistep_curves(results: Mapping[str, Result]) -> dict[tuple[str, int], Result]:
    """Return predictions of the first series by strategy, and 1 for the lowest validation error, else 0."""
    best = min(_single(results), key=lambda name: float(results[name]["validation"][0]))
    return {(name, int(name == best)): {"prediction": one["multistep"][0]} for name, one in results.items()}
