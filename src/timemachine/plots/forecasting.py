"""Figures of series and forecasts: values in, figure out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from timemachine.plots.figure import Array, Curve, draw_lines, new_axes, new_figure

Fan = tuple[int, Array, Mapping[float, Array]]


def _thin_ticks(axes: Axes, t: NDArray[np.generic]) -> None:
    """Label a time axis of dates, which are text, with a few of them."""
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
        observed: index of the first value that was not observed; marked by a line.
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
    """Draw a series, and forecasts of it with their intervals as bands, wider ones lighter.

    Args:
        t: (T,) all times, those of the forecasts included.
        x: (n,) what was observed, n ≤ T.
        fans: for each forecast the index of `t` where it begins, its values (k,), and by level how far the
            intervals reach to both sides (k,). One of a single step is drawn from the value before it, to be seen.
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
    """Draw labelled curves over τ, and dashed lines at levels, in a panel for each title, all logarithmic.

    Where all curves are at 0, as the errors of a constant are, their axis is linear.
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
    """Draw labelled curves, and for each kind of prediction the predicted ones in the same colours.

    Args:
        measured: by label.
        predicted: by kind, then by the same labels.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        levels: by label, where a dashed line stands.
    """
    figure = draw_lines(measured, xlabel, ylabel, levels)
    axes = figure.axes[0]
    colours = {label: line.get_color() for label, line in zip(measured, axes.lines, strict=False)}
    for (kind, curves), style in zip(predicted.items(), (":", "-."), strict=False):
        for label, (where, values) in curves.items():
            axes.plot(where, values, color=colours[label], ls=style, lw=1)
        axes.plot([], color="0.3", ls=style, lw=1, label=kind)
    # Predictions may leave the scale of what they predict.
    finite = np.concatenate([np.asarray(values, dtype=np.float64) for _, values in measured.values()])
    axes.set_ylim(0, 1.3 * finite[np.isfinite(finite)].max(initial=1e-300))
    axes.legend(fontsize=8)
    return figure
