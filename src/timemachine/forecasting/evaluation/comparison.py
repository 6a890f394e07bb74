"""Forecasting strategies side by side, on noisy sines of many seeds or on a series of the user's own."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.error_growth import Autoregression, Recursion
from timemachine.forecasting.evaluation.lags import choice_of
from timemachine.forecasting.models.regression import Problem, Regressor, affine, ridge
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.candidates import CLOSED_FORM, candidates
from timemachine.forecasting.strategies.config import BacktestParams
from timemachine.forecasting.strategies.strategies import STRATEGIES, Forecaster, recursive
from timemachine.forecasting.training.side_by_side import trained
from timemachine.plots.figure import draw_panels
from timemachine.plots.forecasting import draw_measured_and_predicted, draw_time_series
from timemachine.training.devices import choose_device

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params

Array = NDArray[np.float64]


def regressors(p: "Params") -> dict[str, Regressor]:
    """Return the regressors of the entries of `train_ar` that `backtest.trained` names."""
    return {name: trained(p.train_ar[name], choose_device(p.train_ar[name].device)) for name in p.backtest.trained}


def forecasters(p: "Params", x: Array) -> dict[str, Forecaster]:
    """Return all forecasters that the params want compared, those that need no training first.

    Args:
        p: the params.
        x: (num_series, num_observed) what choices may look at.

    Raises:
        UserError: two of them have the same name.
    """
    found = candidates(x, choice_of(p), p.backtest.horizon)
    for name, regress in regressors(p).items():
        for strategy in p.backtest.trained[name]:
            make = STRATEGIES[strategy]
            if f"{strategy}_{name}" in found:
                raise UserError(
                    f"trained: {strategy}_{name} is the name of two forecasters; rename train_ar.{name}"
                )
            found[f"{strategy}_{name}"] = make(regress, p.train_ar[name].tau, p.backtest.horizon)
    return found


@dataclass(frozen=True)
class Result:
    """What came of one forecaster.

    Attributes:
        validation: (num_series,) RMSE over rolling origins of the observed part and all horizons.
        fitted_once: forecasts from all later origins, fitted to the observed part.
        refitted: the same, fitted anew before each fold of origins.
        multistep: (num_series, T − num_observed) predictions made from the observed part alone.
    """

    validation: Array
    fitted_once: Backtest
    refitted: Backtest
    multistep: Array


def compare(found: Mapping[str, Forecaster], x: Array, p: BacktestParams) -> dict[str, Result]:
    """Forecast series x (num_series, T) with every forecaster: by name what came of it."""
    return {name: _compare(forecaster, x, p) for name, forecaster in found.items()}


def _compare(forecaster: Forecaster, x: Array, p: BacktestParams) -> Result:
    observed = x[:, : p.num_observed]
    validation = backtest(forecaster, observed, p.first_validation, p.horizon, p.num_folds).score()
    fitted = forecaster(observed)

    def fitted_before(past: Array) -> Any:
        return fitted if past.shape[1] == p.num_observed else forecaster(past)

    return Result(
        validation,
        backtest(lambda past: fitted, x, p.num_observed, p.horizon),
        backtest(fitted_before, x, p.num_observed, p.horizon, p.num_folds),
        fitted(x, np.array([p.num_observed]), x.shape[1] - p.num_observed)[:, 0],
    )


def best(results: Mapping[str, Result]) -> tuple[list[str], Result]:
    """Choose for each series the forecaster that the observed part prefers.

    Returns:
        The names, one for each series, and what came of the choice.
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
    return [names[i] for i in chosen], Result(validation, picked("fitted_once"), picked("refitted"), multistep)


def report(results: Mapping[str, Result], x: Array, ks: Sequence[int]) -> dict[str, Any]:
    """Return errors of all forecasters and of the best one by rolling origins of the observed part.

    All are means over series; those in `_std` are standard deviations over series, but for `k_step_origins_std`,
    which is that of the absolute error over origins.

    Args:
        results: by name.
        x: (num_series, T).
        ks: horizons to report.
    """
    names, chosen = best(results)
    return {
        "num_series": len(x),
        "chosen": {"strategies": dict(Counter(names).most_common()), **_errors(chosen, x, ks)},
        "strategies": {name: _errors(result, x, ks) for name, result in results.items()},
    }


def _errors(result: Result, x: Array, ks: Sequence[int]) -> dict[str, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        multistep = result.multistep - x[:, result.fitted_once.first :]
        rmse, mae = np.sqrt(np.square(multistep).mean(1)), np.abs(multistep).mean(1)
        once, refitted = result.fitted_once, result.refitted
        by_k = {
            "k_step_rmse": once.rmse().mean(0),
            "k_step_rmse_std": once.rmse().std(0),
            "k_step_origins_std": once.spread().mean(0),
            "k_step_mae": once.mae().mean(0),
            "k_step_rmse_refitted": refitted.rmse().mean(0),
        }
        return {
            "validation_rmse": _number(result.validation.mean()),
            "multistep_rmse": _number(rmse.mean()),
            "multistep_rmse_std": _number(rmse.std()),
            "multistep_mae": _number(mae.mean()),
            **{name: {str(k): _number(values[k - 1]) for k in ks} for name, values in by_k.items()},
        }


def _number(value: np.floating[Any] | float) -> float | None:
    """Return None for the error of a forecast that grew without bound, which JSON has no number for."""
    return float(value) if math.isfinite(value) else None


def by_horizon(results: Mapping[str, Result]) -> list[dict[str, object]]:
    """Return a row for each forecaster, fitted once or anew, and horizon.

    RMSE and MAE are over origins; their mean and standard deviation over series. `origins_std` is the standard
    deviation of the absolute error over origins, its mean over series. Empty are those of forecasts without bound.
    """
    rows: list[dict[str, object]] = []
    for name, result in results.items():
        for fitted, test in (("once", result.fitted_once), ("anew", result.refitted)):
            with np.errstate(invalid="ignore"):
                columns = {
                    "rmse": test.rmse().mean(0),
                    "rmse_std": test.rmse().std(0),
                    "mae": test.mae().mean(0),
                    "mae_std": test.mae().std(0),
                    "origins_std": test.spread().mean(0),
                }
            for k in range(test.errors.shape[2]):
                values = {c: float(value[k]) if math.isfinite(value[k]) else "" for c, value in columns.items()}
                rows.append({"strategy": name, "fitted": fitted, "k": k + 1, **values})
    return rows


@dataclass(frozen=True)
class Growth:
    """Measured and predicted growth of the errors of a recursive linear forecast, means over series.

    Attributes:
        measured: (horizon,) RMSE.
        recursion: the book's, through the first quarter of what is measured.
        expected: (horizon,) what the fitted coefficients imply.
        largest_root: modulus.
        fixed_point: the median value where forecasts stay.
    """

    measured: Array
    recursion: Recursion
    expected: Array
    largest_root: float
    fixed_point: float

    def summary(self, ks: Sequence[int]) -> dict[str, Any]:
        """Return all numbers, curves at the given horizons."""
        recursion = self.recursion.by_horizon(len(self.measured))
        curves = {"measured": self.measured, "recursion": recursion, "autoregression": self.expected}
        return {
            "largest_root": _number(self.largest_root),
            "fixed_point": _number(self.fixed_point),
            "added": _number(self.recursion.added),
            "carried": _number(self.recursion.carried),
            **{name: {str(k): _number(curve[k - 1]) for k in ks} for name, curve in curves.items()},
        }


def growth(regress: Regressor, tau: int, x: Array, p: BacktestParams) -> Growth:
    """Measure how the errors of a linear regressor's recursive forecasts grow, and what predicts it."""
    observed = x[:, : p.num_observed]
    problem = Problem(tau, (1,))
    (predict,) = regress(observed, [problem])
    model = Autoregression.fitted(affine(predict, len(x), tau), *problem.pairs(observed))
    measured = backtest(recursive(regress, tau), x, p.num_observed, p.horizon).rmse().mean(0)
    return Growth(
        measured,
        Recursion.fitted(measured[: max(3, p.horizon // 4)]),
        model.by_horizon(p.horizon).mean(0),
        float(model.largest_root().mean()),
        float(np.median(model.fixed_point())),
    )


def growths(p: "Params", x: Array) -> dict[str, Growth]:
    """Return the growth of errors of trained linear models, and of least squares with as many lags and more."""
    found = {
        name: growth(regress, p.train_ar[name].tau, x, p.backtest)
        for name, regress in regressors(p).items()
        if p.train_ar[name].model == "linear"
    }
    lags = {p.train_ar[name].tau for name in found} | {max(tau for tau, _ in choice_of(p).lags("ridge"))}
    for tau in sorted(lags):
        found[f"least_squares_{tau}"] = growth(ridge(0), tau, x, p.backtest)
    return found


def _within(forecast: Array, x: Array) -> Array:
    """Return a forecast with NaN where it has left the scale of a series, which a figure is to show."""
    return np.where(np.abs(forecast - x.mean()) <= 10 * np.ptp(x), forecast, np.nan)


def figures(
    series: Series,
    results: Mapping[str, Result],
    grown: Mapping[str, Growth],
    trained_names: Sequence[str],
    floor: Mapping[str, float],
) -> dict[str, Figure]:
    """Draw errors by horizon of all strategies, multistep forecasts of the series, and the growth of errors."""
    names, _ = best(results)
    first = next(iter(results.values())).fitted_once.first
    horizon = range(1, next(iter(results.values())).fitted_once.errors.shape[2] + 1)

    def curve(result: Result) -> tuple[range, Array]:
        return horizon, result.fitted_once.rmse().mean(0)

    models = [*trained_names, *CLOSED_FORM]
    panels = {
        strategy.replace("_", "-"): {
            model: curve(results[f"{strategy}_{model}"]) for model in models if f"{strategy}_{model}" in results
        }
        for strategy in STRATEGIES
    }
    in_panels = {f"{strategy}_{model}" for strategy in STRATEGIES for model in models}
    panels["no lags"] = {name: curve(result) for name, result in results.items() if name not in in_panels}
    shown = [f"recursive_{model}" for model in models if f"recursive_{model}" in results]
    shown = [*dict.fromkeys([*shown, names[0]])]
    forecasts = {name.replace("_", " "): (first, _within(results[name].multistep[0], series.x)) for name in shown}
    steps = [*horizon]
    return {
        "error_by_horizon": draw_panels(panels, "steps ahead", "RMSE", {n: [level] for n, level in floor.items()}),
        "multistep": draw_time_series(series.time, {"data": (0, series.x)} | forecasts, first),
        "error_growth": draw_measured_and_predicted(
            {name: (steps, one.measured) for name, one in grown.items()},
            {
                "recursion ε̄ + cε": {n: (steps, one.recursion.by_horizon(len(steps))) for n, one in grown.items()},
                "the model’s coefficients": {n: (steps, one.expected) for n, one in grown.items()},
            },
            "steps ahead",
            "RMSE",
            floor,
        ),
    }
