"""The figures of the book: values in, figure out. The same values give the same bytes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import rcdefaults
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from timemachine.files import replacing

Array = NDArray[np.float64]
Curve = tuple[ArrayLike, ArrayLike]
Fan = tuple[int, Array, Mapping[float, Array]]


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, without the version of the software that drew it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def _figure(width: float, height: float, layout: Literal["constrained"] | None = None) -> Figure:
    """Return an empty figure, of inches, that looks the same whatever a user's matplotlibrc says."""
    rcdefaults()
    return Figure(figsize=(width, height), layout=layout)


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = _figure(7, 3.5)
    # Fixed margins: laying out by what the labels need would draw everything twice.
    axes = figure.add_axes((0.1, 0.14, 0.87, 0.82))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))  # so that numbers of any size fit the margin
    axes.grid(alpha=0.3)
    return figure, axes


def _thin_ticks(axes: Axes, t: NDArray[np.generic]) -> None:
    """Label a time axis of dates, which are text, with a few of them."""
    if t.dtype.kind not in "iuf":
        chosen = np.linspace(0, len(t) - 1, 6).astype(int)
        axes.set_xticks(chosen, [str(t[i]) for i in chosen])


def time_series(
    t: NDArray[np.generic], curves: Mapping[str, tuple[int, Array]], observed: int | None = None
) -> Figure:
    """Draw curves over a common time axis.

    Args:
        t: (T,) times.
        curves: by label, the index of `t` where the curve begins, and its values.
        observed: index of the first value that was not observed; marked by a line.
    """
    figure, axes = _axes("time", "x")
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


def fan(t: NDArray[np.generic], x: Array, fans: Sequence[Fan], name: str = "forecast") -> Figure:
    """Draw a series, and forecasts of it with their intervals as bands, wider ones lighter.

    Args:
        t: (T,) all times, those of the forecasts included.
        x: (n,) what was observed, n ≤ T.
        fans: for each forecast the index of `t` where it begins, its values (k,), and by level how far the
            intervals reach to both sides (k,). One of a single step is drawn from the value before it, to be seen.
    """
    figure, axes = _axes("time", "x")
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


def lines(
    curves: Mapping[str, Curve],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    logarithmic: Sequence[str] = (),
) -> Figure:
    """Draw labelled curves (x, y), and horizontal lines at labelled levels.

    Args:
        curves: by label.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        levels: by label, where a dashed line stands.
        logarithmic: axes, `x` or `y`, on a logarithmic scale.
    """
    figure, axes = _axes(xlabel, ylabel)
    for label, (where, values) in curves.items():
        axes.plot(where, values, label=label, lw=1.2)
    for label, level in (levels or {}).items():
        axes.axhline(level, color="0.3", ls="--", lw=1, label=label)
    for axis in logarithmic:
        axes.set(**{f"{axis}scale": "log"})
    axes.legend(fontsize=8)
    return figure


def panels(
    curves: Mapping[str, Mapping[str, Curve]],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, Sequence[float]],
    ylim: tuple[float, float] | None = None,
) -> Figure:
    """Draw labelled curves (x, y) in a panel for each title, all on the same axes, and dashed lines at levels.

    A label has the same colour in all panels.

    Args:
        curves: by title and label.
        xlabel: label of the x axes.
        ylabel: label of the y axes.
        levels: by label, where dashed lines stand.
        ylim: ends of the y axes; by default 0 and where all values fit, but at most four times their median.
    """
    num_columns = 2
    num_rows = -(-len(curves) // num_columns)
    figure = _figure(7, 0.9 + 2.1 * num_rows, layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True).ravel()
    labels = list(dict.fromkeys(label for panel in curves.values() for label in panel))
    drawn = {}
    for i, (axes, (title, panel)) in enumerate(zip(grid, curves.items(), strict=False)):
        for label, (where, values) in panel.items():
            (drawn[label],) = axes.plot(where, values, color=f"C{labels.index(label)}", lw=1.2)
        for label, heights in levels.items():
            for height in heights:
                drawn[label] = axes.axhline(height, color="0.3", ls="--", lw=1)
        axes.set_title(title, fontsize=10)
        if i % num_columns == 0:
            axes.set_ylabel(ylabel)
        if i + num_columns >= len(curves):
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        axes.grid(alpha=0.3)
    for axes in grid[len(curves) :]:
        axes.axis("off")
    figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=5, fontsize=8)
    values = np.concatenate(
        [np.asarray(y, dtype=np.float64) for panel in curves.values() for _, y in panel.values()]
    )
    finite = values[np.isfinite(values)]
    if ylim is not None:
        grid[0].set_ylim(*ylim)
    elif len(finite) and (top := min(1.05 * finite.max(), 4 * np.median(finite))) > 0:
        grid[0].set_ylim(0, top)
    return figure


def by_lags(panels: Mapping[str, tuple[Mapping[str, Curve], Mapping[str, float]]], ylabel: str) -> Figure:
    """Draw labelled curves over τ, and dashed lines at levels, in a panel for each title, all logarithmic.

    Where all curves are at 0, as the errors of a constant are, their axis is linear.
    """
    figure = _figure(7, 3.5, layout="constrained")
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


def measured_and_predicted(
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
    figure = lines(measured, xlabel, ylabel, levels)
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


def perplexity(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw perplexity against epoch from the rows of a language model's history."""
    labels = {"train": "perplexity", "validation": "val_perplexity"}
    epochs = [row["epoch"] for row in rows]
    curves = {label: (epochs, [row[key] for row in rows]) for label, key in labels.items() if key in rows[0]}
    figure = lines(curves, "epoch", "perplexity", logarithmic="y")
    axis = figure.axes[0].yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    return figure


def by_order(forward: Mapping[str, Sequence[float]], backward: Mapping[str, Sequence[float]]) -> Figure:
    """Draw bits per character against the order of a model, from 1 on: a line forward, crosses backward.

    Args:
        forward: by part.
        backward: the same of the reversed text.
    """
    figure, axes = _axes("order", "bits per character")
    for direction, curves, style in (("forward", forward, "-"), ("backward", backward, "x")):
        for i, (part, bits) in enumerate(curves.items()):
            axes.plot(range(1, len(bits) + 1), bits, style, color=f"C{i}", label=f"{part}, {direction}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    return figure


def ranking(rows: Mapping[str, tuple[float, float, float]], levels: Mapping[str, float], xlabel: str) -> Figure:
    """Draw a value and its interval for each name, from top to bottom, and vertical lines at labelled levels.

    Args:
        rows: by name, the value and the ends of its interval.
        levels: by label, where a dashed line stands.
        xlabel: label of the logarithmic x axis.
    """
    figure = _figure(7, 1 + 0.22 * len(rows), layout="constrained")
    axes = figure.subplots()
    values, lows, highs = (np.array(column) for column in zip(*rows.values(), strict=True))
    places = np.arange(len(rows))
    # Where all tokens are equally hard the interval is a point, give or take a rounding.
    errors = np.clip([values - lows, highs - values], 0, None)
    axes.errorbar(values, places, xerr=errors, fmt="o", ms=4, lw=1.2, capsize=2)
    for place, value, high in zip(places, values, highs, strict=True):
        axes.annotate(f"{value:.3f}", (high, place), (5, 0), textcoords="offset points", va="center", fontsize=7)
    for i, (label, level) in enumerate(levels.items(), 1):
        axes.axvline(level, color=f"C{i}", ls="--", lw=1, label=f"{label} {level:.3f}")
    axes.set(xlabel=xlabel, xscale="log", ylim=(len(rows) - 0.5, -0.5), xlim=(None, 1.12 * float(highs.max())))
    axes.set_yticks(places, list(rows), fontsize=8)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    return figure


def transition_matrices(matrices: Mapping[int, Array], labels: Sequence[str]) -> Figure:
    """Draw k-step transition matrices side by side, rows by the token before, columns by the one after."""
    figure = _figure(3.4 * len(matrices), 3.6, layout="constrained")
    for axes, (k, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        axes.imshow(matrix, cmap="viridis", vmin=0, vmax=0.5)
        axes.set_xticks(range(len(labels)), labels, fontsize=6, parse_math=False)
        axes.set_yticks(range(len(labels)), labels, fontsize=6, parse_math=False)
        axes.set_title(f"{k} step{'s' if k > 1 else ''}", fontsize=10)
    return figure


def gradient_norms(measured: Mapping[str, Curve], predicted: Mapping[str, Curve]) -> Figure:
    """Draw norms of gradients against lag, and where a label has a prediction, that dashed in its colour."""
    figure = lines(measured, "lag T − t", "relative norm of ∂L_T/∂h_t", logarithmic="y")
    axes = figure.axes[0]
    for label, line in zip(measured, list(axes.lines), strict=True):
        if label in predicted:
            axes.plot(*predicted[label], color=line.get_color(), ls="--", lw=0.8)
    axes.plot([], color="0.3", ls="--", lw=0.8, label="spectral radius to the power of the lag")
    axes.legend(fontsize=8)
    return figure


def segments(text: str, starts: Mapping[str, Sequence[int]]) -> Figure:
    """Draw a text in cells, once for each label, cut before the characters of the given indices."""
    figure = _figure(7, 0.55 * len(starts) + 0.1)
    axes = figure.add_axes((0.13, 0, 0.86, 1))
    axes.set(xlim=(-0.3, len(text) + 0.3), ylim=(len(starts) - 0.1, -0.1))
    axes.axis("off")
    for row, (label, begins) in enumerate(starts.items()):
        axes.text(-0.6, row + 0.4, label, ha="right", va="center", fontsize=9)
        bounds = [*sorted({0, *begins}), len(text)]
        for number, (begin, end) in enumerate(pairwise(bounds)):
            place, width = (begin + 0.08, row + 0.08), end - begin - 0.16
            colour = ("#cfe2f3", "#fde3c8")[number % 2]
            axes.add_patch(Rectangle(place, width, 0.64, facecolor=colour, edgecolor="0.3", lw=1))
            axes.vlines(range(begin + 1, end), row + 0.08, row + 0.72, color="white", lw=1)
        for i, character in enumerate(text):
            axes.text(i + 0.5, row + 0.41, character, ha="center", va="center", fontsize=9, parse_math=False)
    return figure


def dots(names: Sequence[str], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw values by name on a logarithmic scale: a panel for each title, a kind of dot for each label."""
    figure = _figure(7, 3.5, layout="constrained")
    for axes, (title, kinds) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for marker, (label, values) in zip("sox^", kinds.items(), strict=False):
            axes.plot(range(len(names)), values, ls="", marker=marker, label=label)
        axes.set(yscale="log", xlim=(-0.5, len(names) - 0.5))
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(names)), names, fontsize=8, rotation=20, ha="right", rotation_mode="anchor")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    return figure
