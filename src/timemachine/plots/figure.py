"""Curves, panels, and figures as files. The same values give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from timemachine.base.files import replacing

Array = NDArray[np.float64]
Curve = tuple[ArrayLike, ArrayLike]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, without the version of matplotlib."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def save_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as <name>.png in a folder."""
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = None) -> Figure:
    """Return an empty figure with a size in inches. The user's matplotlibrc has no effect on it."""
    rcdefaults()
    rcParams.update({"axes.grid": True, "grid.alpha": 0.3, "axes.titlesize": 10, "legend.fontsize": 8})
    return Figure(figsize=(width, height), layout=layout)


def new_row(titles: Iterable[str]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure of 7 × 3.5 inches and its axes side by side, by title."""
    figure, titles = new_figure(7, 3.5, layout="constrained"), list(titles)
    grid = dict(zip(titles, figure.subplots(1, len(titles), squeeze=False)[0], strict=True))
    for title, axes in grid.items():
        axes.set_title(title)
    return figure, grid


def label_logarithmic(axis: Axis, base: float = 10, subs: Sequence[float] = (1,)) -> None:
    """Label a logarithmic axis at the multiples `subs` of powers of `base`, with plain numbers."""
    axis.set_major_locator(LogLocator(base, subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def new_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty figure of 7 × 3.5 inches and its labelled axes."""
    figure = new_figure(7, 3.5)
    # Margins are fixed, because a layout that depends on the labels draws everything twice.
    axes = figure.add_axes((0.1, 0.14, 0.87, 0.82))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))  # numbers of any size fit the margin
    return figure, axes


def draw_lines(
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
        levels: heights of the dashed lines, by label.
        logarithmic: the axes, `x` or `y`, with a logarithmic scale.
    """
    figure, axes = new_axes(xlabel, ylabel)
    for label, (where, values) in curves.items():
        axes.plot(where, values, label=label, lw=1.2)
    for label, level in (levels or {}).items():
        axes.axhline(level, color="0.3", ls="--", lw=1, label=label)
    for axis in logarithmic:
        axes.set(**{f"{axis}scale": "log"})
    axes.legend()
    return figure


def draw_alike(axes: Axes, kind: str, curves: Mapping[str, Curve], style: str, width: float) -> None:
    """Draw curves (x, y) in the colours of the lines of the same labels, with one entry in the legend."""
    colours = {line.get_label(): line.get_color() for line in reversed(axes.lines)}
    for label, (where, values) in curves.items():
        axes.plot(where, values, color=colours[label], ls=style, lw=width)
    axes.plot([], color="0.3", ls=style, lw=width, label=kind)
    axes.legend()


def draw_panels(
    curves: Mapping[str, Mapping[str, Curve]],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, Sequence[float]],
    ylim: tuple[float, float] | None,
) -> Figure:
    """Draw labelled curves (x, y) in a panel for each title, and horizontal dashed lines at levels.

    Panels share their axes, and a label has the same colour in all of them.

    Args:
        curves: by title and label.
        xlabel: label of the x axes.
        ylabel: label of the y axes.
        levels: heights of the dashed lines, by label.
        ylim: limits of the y axes; None for those of the curves.
    """
    num_columns = 2
    num_rows = -(-len(curves) // num_columns)
    figure = new_figure(7, 0.9 + 2.1 * num_rows, layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True).ravel()
    labels = list(dict.fromkeys(label for panel in curves.values() for label in panel))
    drawn = {}
    for i, (axes, (title, panel)) in enumerate(zip(grid, curves.items(), strict=False)):
        for label, (where, values) in panel.items():
            (drawn[label],) = axes.plot(where, values, color=f"C{labels.index(label)}", lw=1.2)
        for label, heights in levels.items():
            for height in heights:
                drawn[label] = axes.axhline(height, color="0.3", ls="--", lw=1)
        axes.set_title(title)
        if i % num_columns == 0:
            axes.set_ylabel(ylabel)
        if i + num_columns >= len(curves):
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
    for axes in grid[len(curves) :]:
        axes.axis("off")
    figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=5)
    if ylim is not None:
        grid[0].set_ylim(ylim)
    return figure
