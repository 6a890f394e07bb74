"""Figures of series and forecasts, made from plain values: arrays, rows of tables, the content of reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine.base.files import read_table
from timemachine.plots.figure import (
    Array,
    Curve,
    add_legend,
    draw_alike,
    draw_lines,
    draw_panels,
    label_logarithmic,
    new_axes,
    new_row,
)

if TYPE_CHECKING:
    from pandas import DataFrame

Fan = tuple[int, Array, Mapping[float, Array]]

_BY_HORIZON = "Error of recursive forecasts by the number of steps ahead"
_RMSE = "RMSE, in units of x"
_NAMES = ("strategy", "lag_strategy", "model", "fitted")


def _time_axes(title: str, t: NDArray[np.generic]) -> tuple[Figure, Axes, NDArray[np.generic]]:
    """Return a figure, its axes and the positions of times: dates, which are text, stand one step apart."""
    numbers = t.dtype.kind in "iuf"
    figure, axes = new_axes(title, "time (steps)" if numbers and (np.diff(t) == 1).all() else "time", "x")
    if numbers:
        return figure, axes, t
    chosen = np.linspace(0, len(t) - 1, 5 if t.dtype.itemsize <= np.dtype("<U10").itemsize else 3).astype(int)
    axes.set_xticks(chosen, [str(t[i]) for i in chosen])
    return figure, axes, np.arange(len(t))


def draw_time_series(
    title: str, t: NDArray[np.generic], curves: Mapping[str, tuple[int, Array]], observed: int | None = None
) -> Figure:
    """Draw curves over a common time axis.

    Args:
        title: title of the figure.
        t: (T,) times.
        curves: by label, the index of `t` where the curve begins, and its values.
        observed: index of the first value that was not observed; a vertical line marks it.
    """
    figure, axes, where = _time_axes(title, t)
    for i, (label, (begin, values)) in enumerate(curves.items()):
        style = {"lw": 1} if i else {"color": "0.7", "lw": 0.8, "ls": "-"}
        axes.plot(where[begin : begin + len(values)], values, label=label, **style)
    if observed is not None:
        axes.axvline(where[observed], color="0.3", ls=":", lw=1, label="first forecast")
    if len(curves) > 1:
        add_legend(figure)
    return figure


def draw_fan(title: str, t: NDArray[np.generic], x: Array, fans: Sequence[Fan], name: str) -> Figure:
    """Draw a series, and forecasts of it with their intervals as bands; wider bands are lighter.

    Args:
        title: title of the figure.
        t: (T,) all times, including those of the forecasts.
        x: (n,) the observed values, n ≤ T.
        fans: for each forecast the index of `t` where it begins, its values (k,), and by level the half widths of
            its intervals (k,). A forecast of one step is drawn from the value before it, to be visible.
        name: label of the forecasts.
    """
    figure, axes, where = _time_axes(title, t)
    axes.plot(where[: len(x)], x, label="data", color="0.6", lw=0.8, ls="-")
    levels = sorted({level for _, _, bands in fans for level in bands}, reverse=True)
    shades = dict(zip(levels, np.linspace(0.8, 0.55, len(levels)), strict=True))
    for i, (begin, values, bands) in enumerate(fans):
        before = x[max(begin - 1, 0) : begin] if len(values) == 1 else x[:0]
        place = where[begin - len(before) : begin + len(values)]
        middle = np.concatenate([before, values])
        for level in sorted(bands, reverse=True):
            reach = np.concatenate([np.zeros(len(before)), bands[level]])
            colour = tuple(1 - (1 - shades[level]) * (1 - channel) for channel in to_rgb("C0"))
            label = f"{100 * level:g} % interval" if i == 0 else None
            axes.fill_between(place, middle - reach, middle + reach, color=colour, lw=0, label=label)
        axes.plot(place, middle, color="C0", label=name if i == 0 else None)
        axes.axvline(where[begin], color="0.3", ls=":", lw=0.8, label="first forecast" if i == 0 else None)
    add_legend(figure)
    return figure


def read_rows(path: Path) -> "DataFrame":
    """Return a table of forecasts, in which empty numbers are NaN.

    Raises:
        UserError: the file does not exist or is damaged.
    """
    from pandas import DataFrame  # imported here: it takes 0.5 s, and most figures do not need it

    def parse(row: Mapping[str, str]) -> dict[str, str | float]:
        numbers = {key: float("nan" if text == "" else text) for key, text in row.items() if key not in _NAMES}
        return {**row, **numbers}

    return DataFrame(read_table(path, "a table of forecasts", parse))


def model_figures(
    t: NDArray[np.generic],
    x: Array,
    forecasts: Mapping[str, Mapping[str, tuple[int, Array]]],
    rmse: Mapping[str, Array],
    ks: Sequence[int],
    noise_floor: float | None,
) -> dict[str, Figure]:
    """Draw the forecasts of models, and their errors by horizon.

    Args:
        t: (T,) times.
        x: (T,) the series.
        forecasts: by model and by label (`1 step`, `multistep`, and `k = <number>` for each horizon), the index of
            the first value, and the values.
        rmse: by model, the error (max_k,) 1, 2, … steps ahead.
        ks: the horizons that are drawn.
        noise_floor: RMSE of the best possible forecast, if it is known.

    Returns:
        `one_step`, `multistep` and `error_by_horizon` of all models, and `k_step_<model>` for each.
    """
    data, first = {"data": (0, x)}, {name: curves["multistep"][0] for name, curves in forecasts.items()}
    drawn = {}
    titles = {
        "1 step": "Forecasts one step ahead",
        "multistep": "Forecasts many steps ahead, fed back (recursive)",
    }
    for label, title in titles.items():
        by_model = {name: curves[label] for name, curves in forecasts.items()}
        drawn[label.replace("1 ", "one_")] = draw_time_series(title, t, data | by_model, min(first.values()))
    growth = {name: (np.arange(1, len(errors) + 1), errors) for name, errors in rmse.items()}
    drawn["error_by_horizon"] = draw_lines(growth, _BY_HORIZON, "steps ahead", _RMSE, _noise(noise_floor))
    for name, curves in forecasts.items():
        ahead = {f"k = {k}": curves[f"k = {k}"] for k in ks}
        title = f"{name}: recursive forecasts k steps ahead, drawn at their target times"
        drawn[f"k_step_{name}"] = draw_time_series(title, t, data | ahead, first[name])
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
    models = {noise: [*report.get(noise, {})] for noise in ("with_noise", "without_noise")}
    models["without_noise"] = models["without_noise"][:1]
    title = "Forecast error by the number of lagged values τ"
    figure, grid = new_row(title, (noise.replace("_", " ") for noise, shown in models.items() if shown))
    colours: dict[str, str] = {}
    for (noise, shown), axes in zip(models.items(), grid.values(), strict=False):
        highest = 0.0
        for key, steps in (("one_step_rmse", "1 step"), ("rmse", f"1 … {horizon} steps")):
            for model in shown:
                errors = {int(tau): e for tau, e in report[noise][model][key].items() if e is not None}
                label = f"{model.replace('_', ' ')}, {steps}"
                colour = colours.setdefault(label, f"C{len(colours)}")
                axes.plot([*errors], [*errors.values()], label=label, color=colour, marker=".")
                highest = max([highest, *errors.values()])
        for label, level in (_noise(noise_floor) if noise == "with_noise" else {}).items():
            axes.axhline(level, color="0.3", ls="--", lw=1, label=label, zorder=1)
        # The errors of a constant series are 0.
        axes.set(xscale="log", yscale="log" if highest else "linear", xlabel="lags τ (steps)", ylabel=_RMSE)
        label_logarithmic(axes.xaxis, base=2)
    add_legend(figure)
    axis = figure.axes[0].yaxis
    if axis.get_scale() == "log":
        label_logarithmic(axis, subs=(1, 2, 5))
    return figure


def backtest_figures(
    t: NDArray[np.generic],
    x: Array,
    by_horizon: "DataFrame",
    multistep: "DataFrame",
    error_growth: "DataFrame",
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
    once = by_horizon[by_horizon["fitted"] == "once"]
    lagged = once[once["model"] != ""]
    models = [*dict.fromkeys([*trained, *lagged["model"]])]
    panels = {}
    for lag_strategy, rows in lagged.groupby("lag_strategy", sort=False):
        curves = _curves(rows, "model", "rmse")
        panels[str(lag_strategy).replace("_", "-")] = {name: curves[name] for name in models if name in curves}
    panels["others"] = _curves(once[once["model"] == ""], "strategy", "rmse")

    # Forecasts that left the scale of the series are not drawn from there on.
    within = (multistep["prediction"] - x.mean()).abs() <= 10 * np.ptp(x)
    drawn = multistep.assign(prediction=multistep["prediction"].where(within))
    predictions = {name: one["prediction"].to_numpy() for name, one in drawn.groupby("strategy", sort=False)}
    shown = [name for name in (f"recursive_{model}" for model in models) if name in predictions]
    shown.extend(drawn["strategy"][drawn["chosen"] == 1])
    first = len(x) - len(predictions[shown[0]])
    forecasts = {name.replace("_", " "): (first, predictions[name]) for name in shown}
    noise = {label: [level] for label, level in levels.items()}
    # The largest errors may be much larger than the others.
    top = min(1.05 * once["rmse"].max(), 4 * once["rmse"].median())
    return {
        "error_by_horizon": draw_panels(
            panels,
            "Forecast error by strategy and model",
            "steps ahead",
            _RMSE,
            noise,
            (0, top) if top > 0 else None,
        ),
        "multistep": draw_time_series(
            f"Forecasts of {len(x) - first} steps from one origin", t, {"data": (0, x)} | forecasts, first
        ),
        "error_growth": _growth_figure(error_growth, levels),
    }


def _growth_figure(rows: "DataFrame", levels: Mapping[str, float]) -> Figure:
    """Draw measured errors, and both predictions of them in the same colours and other line styles."""
    measured = _curves(rows, "model", "measured")
    title = "Growth of the error of recursive forecasts, measured and predicted"
    figure = draw_lines(measured, title, "steps ahead", _RMSE, levels)
    draw_alike(figure, "recursion ε̄ + cε", _curves(rows, "model", "recursion"), ":", 1)
    draw_alike(figure, "the model’s coefficients", _curves(rows, "model", "autoregression"), "-.", 1)
    # Predictions may be much larger than the measured values.
    figure.axes[0].set_ylim(0, 1.3 * np.max(rows["measured"].dropna().to_numpy(), initial=1e-300))
    return figure


def _curves(rows: "DataFrame", label: str, column: str) -> dict[Any, Curve]:
    """Return for each value of `label`, in the order of the rows, `k` and a column."""
    return {name: (one["k"], one[column]) for name, one in rows.groupby(label, sort=False)}


def interval_figures(
    t: NDArray[np.generic], x: Array, by_horizon: "DataFrame", fan: "DataFrame", *, levels: Sequence[float]
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
    fans = [
        (
            int(rows["origin"].iloc[0]),
            rows["prediction"].to_numpy(),
            {level: rows[str(level)].to_numpy() for level in levels},
        )
        for _, rows in fan.groupby("origin", sort=False)
    ]
    named = by_horizon.assign(
        strategy=by_horizon["strategy"].str.replace("_", " "),
        level=[f"{100 * level:g} %" for level in by_horizon["level"]],
        missed=100 * (by_horizon["coverage"] - by_horizon["level"]),
    )
    missed = {str(name): _curves(rows, "level", "missed") for name, rows in named.groupby("strategy", sort=False)}
    most = max(5.0, 1.1 * named["missed"].abs().max())
    widest = f"{100 * levels[-1]:g} %"
    wide = _curves(named[named["level"] == widest], "strategy", "width")
    name = fan["strategy"][0].replace("_", " ")
    return {
        "fan": draw_fan(f"{name}: forecasts one after another, with intervals", t, x, fans, name),
        "coverage": draw_panels(
            missed,
            "Coverage of prediction intervals minus their level",
            "steps ahead",
            "difference (percentage points)",
            {"0 and ±3": [-3, 0, 3]},
            (-most, most),
        ),
        "width": draw_lines(
            wide, f"Width of {widest} prediction intervals", "steps ahead", "width, in units of x"
        ),
    }
