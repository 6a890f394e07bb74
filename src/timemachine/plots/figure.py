"""Curves, panels, and figures as files. The same values give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rcdefaults, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from timemachine.base.files import replacing

Array = NDArray[np.float64]
Curve = tuple[ArrayLike, ArrayLike]


# The palette of Okabe and Ito, which colour-blind readers can tell apart, without black and yellow, and grey.
# Further curves are dashed, then dotted.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f")
_STYLES = ("-", (0, (4, 1)), (0, (1, 1)))
# A legend of more labels is too high for the place of a panel.
_MOST_WITHIN = 10
_CYCLE = cycler(linestyle=_STYLES) * cycler(color=_COLOURS)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG of 150 dots per inch, without the version of matplotlib."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def save_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as <name>.png in a folder."""
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def new_figure(title: str, width: float = 6.4, height: float = 4) -> Figure:
    """Return an empty figure with a title, and a size in inches. The user's matplotlibrc has no effect on it."""
    rcdefaults()
    rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": _CYCLE,
            "axes.titlesize": 10,
            "figure.constrained_layout.h_pad": 0.06,  # inches
            "figure.constrained_layout.w_pad": 0.06,
            "figure.titlesize": 11,
            "grid.alpha": 0.3,
            "legend.fontsize": 9,
            "lines.linewidth": 1.3,
        }
    )
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(fill(title, int(11 * width)), parse_math=False)
    return figure


def new_row(title: str, titles: Iterable[str], sharey: bool = False) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a title, and its axes side by side, by their own titles."""
    figure, titles = new_figure(title), list(titles)
    grid = dict(zip(titles, figure.subplots(1, len(titles), squeeze=False, sharey=sharey)[0], strict=True))
    for name, axes in grid.items():
        axes.set_title(name)
    return figure, grid


def new_axes(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return a figure with a title, and its labelled axes."""
    figure = new_figure(title)
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def add_legend(figure: Figure, axes: Axes | None = None) -> None:
    """Put one legend of all labels below the panels, in place of an earlier one, or into empty axes."""
    while figure.legends:
        figure.legends[0].remove()
    found: dict[str, Artist] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if axes is not None:
        axes.axis("off")
        axes.legend(found.values(), found, loc="center")
        return
    # A column takes about 0.07 inches a character, and 0.6 for the line and the space around it.
    widths = np.array([0.6 + 0.07 * len(label) for label in found])
    num_columns = len(found)
    while sum(map(max, np.array_split(widths, num_columns))) > figure.get_figwidth() and num_columns > 1:
        num_columns -= 1
    figure.legend(found.values(), found, loc="outside lower center", ncols=num_columns)


def label_logarithmic(axis: Axis, base: float = 10, subs: Sequence[float] = (1,)) -> None:
    """Label a logarithmic axis at the multiples `subs` of powers of `base`, with plain numbers."""
    axis.set_major_locator(LogLocator(base, subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def draw_lines(
    curves: Mapping[str, Curve],
    title: str,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    logarithmic: Sequence[str] = (),
) -> Figure:
    """Draw labelled curves (x, y), and horizontal lines at labelled levels.

    Args:
        curves: by label.
        title: title of the figure.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        levels: heights of the dashed lines, by label.
        logarithmic: the axes, `x` or `y`, with a logarithmic scale.
    """
    figure, axes = new_axes(title, xlabel, ylabel)
    for label, (where, values) in curves.items():
        axes.plot(where, values, label=label)
    for label, level in (levels or {}).items():
        axes.axhline(level, color="0.3", ls="--", lw=1, label=label, zorder=1)
    for axis in logarithmic:
        axes.set(**{f"{axis}scale": "log"})
    add_legend(figure)
    return figure


def draw_alike(figure: Figure, kind: str, curves: Mapping[str, Curve], style: str, width: float) -> None:
    """Draw curves (x, y) in the colours of the lines of the same labels, with one entry in the legend."""
    (axes,) = figure.axes
    colours = {line.get_label(): line.get_color() for line in reversed(axes.lines)}
    for label, (where, values) in curves.items():
        axes.plot(where, values, color=colours[label], ls=style, lw=width)
    axes.plot([], color="0.3", ls=style, lw=width, label=kind)
    add_legend(figure)


def draw_panels(
    curves: Mapping[str, Mapping[str, Curve]],
    title: str,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, Sequence[float]],
    ylim: tuple[float, float] | None,
) -> Figure:
    """Draw labelled curves (x, y) in a panel for each title, and horizontal dashed lines at levels.

    Panels share their axes, and a label has the same colour in all of them.

    Args:
        curves: by title and label.
        title: title of the figure.
        xlabel: label of the x axes.
        ylabel: label of the y axes.
        levels: heights of the dashed lines, by label.
        ylim: limits of the y axes; None for those of the curves.
    """
    num_columns = 2
    num_rows = -(-len(curves) // num_columns)
    figure = new_figure(title, height=1.1 + 1.9 * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True).ravel()
    labels = list(dict.fromkeys(label for panel in curves.values() for label in panel))
    styles = dict(zip(labels, cycle(_CYCLE), strict=False))
    for axes, (name, panel) in zip(grid, curves.items(), strict=False):
        for label, (where, values) in panel.items():
            axes.plot(where, values, label=label, **styles[label])
        for label, heights in levels.items():
            for height in heights:
                axes.axhline(height, color="0.3", ls="--", lw=1, label=label, zorder=1)
        axes.set_title(name)
    for axes in grid[len(curves) - num_columns : len(curves)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(xlabel)
    figure.supylabel(ylabel, fontsize="medium")
    within = len(curves) < len(grid) and len(labels) < _MOST_WITHIN
    if len(curves) < len(grid) and not within:
        grid[-1].axis("off")
    add_legend(figure, grid[-1] if within else None)
    if ylim is not None:
        grid[0].set_ylim(ylim)
    return figure
