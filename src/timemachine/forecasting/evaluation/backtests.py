"""Backtests of all forecasting strategies, on noisy sines of many seeds or on a series of your own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.error_growth import finite
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.candidates import CLOSED_FORM, Choice, candidates
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES, FittedForecaster, Forecaster
from timemachine.forecasting.training.side_by_side import trained_regressor


def all_forecasters(
    x: Array, p: BacktestParams, choose_tau: ChooseTauParams, recipes: Mapping[str, ArRecipe]
) -> dict[str, Forecaster]:
    """Return all forecasters to compare by name; those without training by gradient descent come first.

    Args:
        x: (num_series, num_observed) the values by which lags and penalties are chosen.
        p: the strategies of trained models.
        choose_tau: the lags and penalties to choose from.
        recipes: entries of `train_ar`.

    Raises:
        UserError: two forecasters have the same name.
    """
    found = candidates(x, Choice.of(p, choose_tau), p.horizon)
    for name, strategies in p.trained.items():
        regress = trained_regressor(recipes[name])
        for strategy in strategies:
            if f"{strategy}_{name}" in found:
                raise UserError(
                    f"trained: two forecasters have the name {strategy}_{name}; rename train_ar.{name}"
                )
            found[f"{strategy}_{name}"] = LAG_STRATEGIES[strategy](regress, recipes[name].tau, p.horizon)
    return found


@dataclass(frozen=True)
class BacktestResult:
    """The forecasts and errors of one forecaster.

    Attributes:
        validation: (num_series,) RMSE over rolling origins of the observed part and all horizons.
        fitted_once: forecasts from all later origins, fitted to the observed part.
        refitted: the same, refitted before each fold of origins.
        multistep: (num_series, T − num_observed) predictions made from the observed part alone.
    """

    validation: Array
    fitted_once: Backtest
    refitted: Backtest
    multistep: Array


def backtest_all(forecasters: Mapping[str, Forecaster], x: Array, p: BacktestParams) -> dict[str, BacktestResult]:
    """Backtest every forecaster on series x (num_series, T), and return the results by name."""
    return {name: _backtest_one(forecaster, x, p) for name, forecaster in forecasters.items()}


def _backtest_one(forecaster: Forecaster, x: Array, p: BacktestParams) -> BacktestResult:
    observed = x[:, : p.num_observed]
    validation = backtest(forecaster, observed, p.first_validation, p.horizon, p.num_folds).score()
    fitted = forecaster(observed)

    def fitted_before(past: Array) -> FittedForecaster:
        return fitted if past.shape[1] == p.num_observed else forecaster(past)

    return BacktestResult(
        validation,
        backtest(lambda past: fitted, x, p.num_observed, p.horizon),
        backtest(fitted_before, x, p.num_observed, p.horizon, p.num_folds),
        fitted(x, np.array([p.num_observed]), x.shape[1] - p.num_observed)[:, 0],
    )


def choose_best(results: Mapping[str, BacktestResult]) -> tuple[list[str], BacktestResult]:
    """Choose for each series the forecaster with the lowest validation error.

    Returns:
        The names, one for each series, and the results of the chosen forecasters.
    """
    names = list(results)
    chosen = np.stack([result.validation for result in results.values()]).argmin(0)
    rows = np.arange(len(chosen))

    def pick(arrays: Sequence[Array]) -> Array:
        return np.stack(arrays)[chosen, rows]

    def picked(kind: str) -> Backtest:
        tests: list[Backtest] = [getattr(result, kind) for result in results.values()]
        return Backtest(tests[0].first, pick([t.predictions for t in tests]), pick([t.errors for t in tests]))

    validation, multistep = (
        pick([getattr(result, kind) for result in results.values()]) for kind in ("validation", "multistep")
    )
    best = BacktestResult(validation, picked("fitted_once"), picked("refitted"), multistep)
    return [names[i] for i in chosen], best


def backtest_report(results: Mapping[str, BacktestResult], x: Array, ks: Sequence[int]) -> dict[str, Any]:
    """Return the errors of all forecasters, and of the best one of each series by validation error.

    All are means over series. Names that end in `_std` are standard deviations over series, except
    `k_step_origins_std`, the standard deviation of the absolute error over origins.

    Args:
        results: by name.
        x: (num_series, T).
        ks: horizons to report.
    """
    names, best = choose_best(results)
    return {
        "num_series": len(x),
        "chosen": {"strategies": dict(Counter(names).most_common()), **_errors(best, x, ks)},
        "strategies": {name: _errors(result, x, ks) for name, result in results.items()},
    }


def _errors(result: BacktestResult, x: Array, ks: Sequence[int]) -> dict[str, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        multistep = result.multistep - x[:, result.fitted_once.first :]
        rmse, mae = np.sqrt(np.square(multistep).mean(1)), np.abs(multistep).mean(1)
        report: dict[str, Any] = {
            "validation_rmse": finite(result.validation.mean()),
            "multistep_rmse": finite(rmse.mean()),
            "multistep_rmse_std": finite(rmse.std()),
            "multistep_mae": finite(mae.mean()),
        }
    once = _over_series(result.fitted_once)
    by_k = {f"k_step_{name}": once[name] for name in ("rmse", "rmse_std", "origins_std", "mae")}
    by_k["k_step_rmse_refitted"] = _over_series(result.refitted)["rmse"]
    return report | {name: {str(k): finite(values[k - 1]) for k in ks} for name, values in by_k.items()}


def _over_series(test: Backtest) -> dict[str, Array]:
    """Return means and standard deviations over series by horizon: (horizon,) each."""
    rmse, mae, spread = test.rmse(), test.mae(), test.spread()
    with np.errstate(invalid="ignore"):
        means = {"rmse": rmse.mean(0), "rmse_std": rmse.std(0), "mae": mae.mean(0), "mae_std": mae.std(0)}
        return means | {"origins_std": spread.mean(0)}


def errors_by_horizon(results: Mapping[str, BacktestResult], p: BacktestParams) -> list[dict[str, object]]:
    """Return a row for each forecaster, fitted once or anew, and horizon.

    `lag_strategy` and `model` are the parts of the name; they are empty for forecasters without lags. RMSE and MAE
    are over origins; the columns have their means and standard deviations over series. `origins_std` is the
    standard deviation of the absolute error over origins, mean over series. Values that are not finite are empty.
    """
    parts = {f"{lags}_{model}": (lags, model) for lags in LAG_STRATEGIES for model in (*p.trained, *CLOSED_FORM)}
    rows: list[dict[str, object]] = []
    for name, result in results.items():
        names = dict(zip(("strategy", "lag_strategy", "model"), (name, *parts.get(name, ("", ""))), strict=True))
        for fitted, test in (("once", result.fitted_once), ("anew", result.refitted)):
            columns = _over_series(test)
            for k in range(test.errors.shape[2]):
                values = {column: _text(value[k]) for column, value in columns.items()}
                rows.append({**names, "fitted": fitted, "k": k + 1, **values})
    return rows


def multistep_rows(results: Mapping[str, BacktestResult]) -> list[dict[str, object]]:
    """Return a row for each forecaster and horizon of its multistep predictions of the first series.

    `chosen` is 1 in the rows of the best forecaster by validation error, else 0. Values that are not finite are
    empty.
    """
    best = choose_best(results)[0][0]
    return [
        {"strategy": name, "chosen": int(name == best), "k": k, "prediction": _text(value)}
        for name, result in results.items()
        for k, value in enumerate(result.multistep[0], 1)
    ]


def _text(value: np.floating[Any]) -> float | str:
    return "" if (known := finite(value)) is None else known
