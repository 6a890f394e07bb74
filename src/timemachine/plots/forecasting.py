"""Figures of series and forecasts, made from plain values: arrays, rows of tables, the content of reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from timemachine.plots.figure import Array, Curve, draw_lines, draw_panels, new_axes, new_figure

Fan = tuple[int, Array, Mapping[float, Array]]
Row = Mapping[str, Any]

_NAME_COLUMNS = ("strategy", "lag_strategy", "model", "fitted")


def _thin_ticks(axes: Axes, t: NDArray[np.generic]) -> None:
    """Label a time axis of dates, which are text, with six of them."""
    if t.dtype.kind not in "iuf":
        chosen = np.linspace(0, len(t) - 1, 6).astype(int)
        axes.set_xticks(chosen, [str(t[i]) for i in chosen])


def draw_time_series(
    t: NDArray[np.generic], curves: Mapping[str, tuple[int, Array]], observed: int | None = None
) -> Figure:
    """Draw curves over a common time axis.

    Args:
        t: (T,) times.
        curves: by label, the index of `t` where the curve begins, and its values.
        observed: index of the first value that was not observed; a vertical line marks it.
    """
    figure, axes = new_axes("time", "x")
    numeric = t.dtype.kind in "iuf"
    for i, (label, (begin, values)) in enumerate(curves.items()):
        where = t[begin : begin + len(values)] if numeric else np.arange(begin, begin + len(values))
        first = i == 0
        axes.plot(where, values, label=label, color="0.7" if first else None, lw=0.8 if first else 1.2)
    if observed is not None:
        axes.axvline(t[observed] if numeric else observed, color="0.3", ls=":", lw=1, label="first forecast")
    _thin_ticks(axes, t)
    axes.legend(fontsize=8)
    return figure


def draw_fan(t: NDArray[np.generic], x: Array, fans: Sequence[Fan], name: str = "forecast") -> Figure:
    """Draw a series, and forecasts of it with their intervals as bands; wider bands are lighter.

    Args:
        t: (T,) all times, including those of the forecasts.
        x: (n,) the observed values, n ≤ T.
        fans: for each forecast the index of `t` where it begins, its values (k,), and by level the half widths of
            its intervals (k,). A forecast of one step is drawn from the value before it, to be visible.
        name: label of the forecasts.
    """
    figure, axes = new_axes("time", "x")
    where = t if t.dtype.kind in "iuf" else np.arange(len(t))
    axes.plot(where[: len(x)], x, label="data", color="0.6", lw=0.8)
    levels = sorted({level for _, _, bands in fans for level in bands}, reverse=True)
    shades = dict(zip(levels, np.linspace(0.8, 0.55, len(levels)), strict=True))
    for i, (begin, values, bands) in enumerate(fans):
        before = x[max(begin - 1, 0) : begin] if len(values) == 1 else x[:0]
        place = where[begin - len(before) : begin + len(values)]
        middle = np.concatenate([before, values])
        for level in sorted(bands, reverse=True):
            reach = np.concatenate([np.zeros(len(before)), bands[level]])
            colour = tuple(1 - (1 - shades[level]) * (1 - channel) for channel in to_rgb("C0"))
            label = f"{100 * level:g} %" if i == 0 else None
            axes.fill_between(place, middle - reach, middle + reach, color=colour, lw=0, label=label)
        axes.plot(place, middle, color="C0", lw=1.2, label=name if i == 0 else None)
        axes.axvline(where[begin], color="0.3", ls=":", lw=0.8, label="first forecast" if i == 0 else None)
    _thin_ticks(axes, t)
    axes.legend(fontsize=8)
    return figure


def draw_by_lags(panels: Mapping[str, tuple[Mapping[str, Curve], Mapping[str, float]]], ylabel: str) -> Figure:
    """Draw labelled curves over τ, and dashed lines at levels, in a panel for each title, on logarithmic axes.

    The y axis is linear if all values are 0, as the errors of a constant series are.
    """
    figure = new_figure(7, 3.5, layout="constrained")
    for axes, (title, (curves, levels)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for label, (where, values) in curves.items():
            axes.plot(where, values, label=label, marker=".", lw=1.2)
        for label, level in levels.items():
            axes.axhline(level, color="0.3", ls="--", lw=1, label=label)
        positive = any(np.max(values, initial=0) > 0 for _, values in curves.values())
        yscale = "log" if positive else "linear"
        axes.set(xscale="log", yscale=yscale, xlabel="embedding dimension τ", ylabel=ylabel)
        axes.set_title(title, fontsize=10)
        axes.xaxis.set_major_locator(LogLocator(base=2))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def draw_measured_and_predicted(
    measured: Mapping[str, Curve],
    predicted: Mapping[str, Mapping[str, Curve]],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float],
) -> Figure:
    """Draw labelled curves, and predictions of them in the same colours and another line style for each kind.

    Args:
        measured: curves by label.
        predicted: curves by kind and label.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        levels: heights of dashed lines by label.
    """
    figure = draw_lines(measured, xlabel, ylabel, levels)
    axes = figure.axes[0]
    colours = {label: line.get_color() for label, line in zip(measured, axes.lines, strict=False)}
    for (kind, curves), style in zip(predicted.items(), (":", "-."), strict=False):
        for label, (where, values) in curves.items():
            axes.plot(where, values, color=colours[label], ls=style, lw=1)
        axes.plot([], color="0.3", ls=style, lw=1, label=kind)
    # Predictions may be much larger than the measured values.
    finite = np.concatenate([np.asarray(values, dtype=np.float64) for _, values in measured.values()])
    axes.set_ylim(0, 1.3 * finite[np.isfinite(finite)].max(initial=1e-300))
    axes.legend(fontsize=8)
    return figure


def parse_row(row: Mapping[str, str]) -> Row:
    """Return a row of a table of forecasts: names as text, other columns as numbers, NaN if they are empty."""
    return {
        column: value if column in _NAME_COLUMNS else float("nan" if value == "" else value)
        for column, value in row.items()
    }


def model_figures(
    t: NDArray[np.generic],
    x: Array,
    forecasts: Mapping[str, Mapping[str, tuple[int, Array]]],
    by_horizon: Mapping[str, Sequence[Mapping[str, float]]],
    noise_floor: float | None,
) -> dict[str, Figure]:
    """Draw the forecasts of models, and their errors by horizon.

    Args:
        t: (T,) times.
        x: (T,) the series.
        forecasts: by model, its curves by label: `1 step`, `multistep`, and `k = <number>` for each horizon. A
            curve is the index of its first value, and the values.
        by_horizon: by model, rows of `k` and `rmse`.
        noise_floor: RMSE of the best possible forecast, if it is known.

    Returns:
        `one_step`, `multistep` and `error_by_horizon` of all models, and `k_step_<model>` for each.
    """
    data = {"data": (0, x)}
    first = {name: curves["multistep"][0] for name, curves in forecasts.items()}
    drawn = {
        figure: draw_time_series(
            t,
            data | {f"{name}, {label}": curves[label] for name, curves in forecasts.items()},
            min(first.values()),
        )
        for figure, label in (("one_step", "1 step"), ("multistep", "multistep"))
    }
    growth = {n: ([row["k"] for row in rows], [row["rmse"] for row in rows]) for n, rows in by_horizon.items()}
    drawn["error_by_horizon"] = draw_lines(growth, "steps ahead", "RMSE", _noise(noise_floor))
    for name, curves in forecasts.items():
        ahead = {label: curve for label, curve in curves.items() if label.startswith("k = ")}
        drawn[f"k_step_{name}"] = draw_time_series(t, data | ahead, first[name])
    return drawn


def _noise(noise_floor: float | None) -> dict[str, float]:
    return {} if noise_floor is None else {"noise": noise_floor}


def tau_figure(report: Mapping[str, Any], horizon: int, noise_floor: float | None) -> Figure:
    """Draw the errors by τ in `tau.json`, with and without noise.

    Args:
        report: the content of `tau.json`.
        horizon: number of steps ahead that the errors are over.
        noise_floor: RMSE of the best possible forecast, if it is known.
    """
    panels = {}
    for noise, levels in (("with_noise", _noise(noise_floor)), ("without_noise", {})):
        models = [*report.get(noise, {})][: None if noise == "with_noise" else 1]
        curves = {
            f"{model.replace('_', ' ')}, {steps}": _by_tau(report[noise][model][key])
            for key, steps in (("one_step_rmse", "1 step"), ("rmse", f"1 … {horizon} steps"))
            for model in models
        }
        if curves:
            panels[noise.replace("_", " ")] = (curves, levels)
    figure = draw_by_lags(panels, "RMSE")
    axis = figure.axes[0].yaxis
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    return figure


def _by_tau(errors: Mapping[str, float | None]) -> Curve:
    known = {int(tau): error for tau, error in errors.items() if error is not None}
    return list(known), list(known.values())


def backtest_figures(
    t: NDArray[np.generic],
    x: Array,
    by_horizon: Sequence[Row],
    multistep: Sequence[Row],
    error_growth: Sequence[Row],
    *,
    trained: Sequence[str],
    noise_floor: float | None,
) -> dict[str, Figure]:
    """Draw the errors of all strategies by horizon, multistep forecasts of the series, and the growth of errors.

    Args:
        t: (T,) times.
        x: (T,) the series.
        by_horizon: rows of `by_horizon.csv` of the stage `backtest`.
        multistep: rows of `multistep.csv`.
        error_growth: rows of `error_growth.csv`.
        trained: names of the models that are trained by gradient descent, which come first.
        noise_floor: RMSE of the best possible forecast, if it is known.

    Returns:
        `error_by_horizon`, `multistep` and `error_growth`.
    """
    levels = _noise(noise_floor)
    once = [row for row in by_horizon if row["fitted"] == "once"]
    models = [*dict.fromkeys([*trained, *(row["model"] for row in once if row["model"])])]
    panels: dict[str, dict[str, Curve]] = {}
    for lag_strategy in [*dict.fromkeys(row["lag_strategy"] for row in once if row["model"])]:
        rows = [row for row in once if row["lag_strategy"] == lag_strategy]
        curves = _curves(rows, "model", "rmse")
        panels[lag_strategy.replace("_", "-")] = {model: curves[model] for model in models if model in curves}
    panels["no lags"] = {**_curves([row for row in once if not row["model"]], "strategy", "rmse")}

    predictions = {
        name: np.array(values) for name, (_, values) in _curves(multistep, "strategy", "prediction").items()
    }
    shown = [f"recursive_{model}" for model in models if f"recursive_{model}" in predictions]
    shown += [row["strategy"] for row in multistep if row["chosen"]]
    first = len(x) - len(predictions[shown[0]])
    # Forecasts that left the scale of the series are not drawn from there on.
    within = {
        name: np.where(np.abs(values - x.mean()) <= 10 * np.ptp(x), values, np.nan)
        for name, values in predictions.items()
    }
    forecasts = {name.replace("_", " "): (first, within[name]) for name in shown}
    return {
        "error_by_horizon": draw_panels(
            panels, "steps ahead", "RMSE", {n: [level] for n, level in levels.items()}
        ),
        "multistep": draw_time_series(t, {"data": (0, x)} | forecasts, first),
        "error_growth": draw_measured_and_predicted(
            _curves(error_growth, "model", "measured"),
            {
                "recursion ε̄ + cε": _curves(error_growth, "model", "recursion"),
                "the model’s coefficients": _curves(error_growth, "model", "autoregression"),
            },
            "steps ahead",
            "RMSE",
            levels,
        ),
    }


def _curves(rows: Sequence[Row], label: str, column: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return for each value of `label`, in the order of the rows, `k` and a column."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        steps, values = curves.setdefault(row[label], ([], []))
        steps.append(row["k"])
        values.append(row[column])
    return curves


def interval_figures(
    t: NDArray[np.generic], x: Array, by_horizon: Sequence[Row], fan: Sequence[Row], levels: Sequence[float]
) -> dict[str, Figure]:
    """Draw consecutive forecasts with their intervals, and coverage and width by horizon.

    Args:
        t: (T,) times.
        x: (T,) the series.
        by_horizon: rows of `by_horizon.csv` of the stage `intervals`.
        fan: rows of `fan.csv`.
        levels: the levels; widths are drawn of the last.

    Returns:
        `fan`, `coverage` and `width`.
    """
    fans: list[Fan] = []
    for origin in [*dict.fromkeys(int(row["origin"]) for row in fan)]:
        rows = [row for row in fan if row["origin"] == origin]
        reach = {level: np.array([row[str(level)] for row in rows]) for level in levels}
        fans.append((origin, np.array([row["prediction"] for row in rows]), reach))
    missed: dict[str, dict[str, Curve]] = {}
    for strategy in [*dict.fromkeys(row["strategy"] for row in by_horizon)]:
        for level in levels:
            rows = [row for row in by_horizon if row["strategy"] == strategy and row["level"] == level]
            points = [100 * (row["coverage"] - level) for row in rows]
            missed.setdefault(strategy.replace("_", " "), {})[f"{100 * level:g} %"] = (
                [row["k"] for row in rows],
                points,
            )
    most = max(5.0, 1.1 * max(np.abs(y).max() for panel in missed.values() for _, y in panel.values()))
    wide = _curves([row for row in by_horizon if row["level"] == levels[-1]], "strategy", "width")
    return {
        "fan": draw_fan(t, x, fans, fan[0]["strategy"].replace("_", " ")),
        "coverage": draw_panels(
            missed, "steps ahead", "points from nominal", {"3 points": [-3, 0, 3]}, (-most, most)
        ),
        "width": draw_lines(
            {strategy.replace("_", " "): curve for strategy, curve in wide.items()},
            "steps ahead",
            f"width of {100 * levels[-1]:g} % intervals",
        ),
    }
