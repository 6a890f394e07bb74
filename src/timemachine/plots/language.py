"""Figures of language models: values in, figure out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from timemachine.plots.figure import Array, draw_lines, new_axes, new_figure


def draw_perplexity(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw perplexity against epoch from the rows of a language model's history."""
    labels = {"train": "perplexity", "validation": "val_perplexity"}
    epochs = [row["epoch"] for row in rows]
    curves = {label: (epochs, [row[key] for row in rows]) for label, key in labels.items() if key in rows[0]}
    figure = draw_lines(curves, "epoch", "perplexity", logarithmic="y")
    axis = figure.axes[0].yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    return figure


def draw_by_order(forward: Mapping[str, Sequence[float]], backward: Mapping[str, Sequence[float]]) -> Figure:
    """Draw bits per character against the order of a model, from 1 on: a line forward, crosses backward.

    Args:
        forward: by part.
        backward: the same of the reversed text.
    """
    figure, axes = new_axes("order", "bits per character")
    for direction, curves, style in (("forward", forward, "-"), ("backward", backward, "x")):
        for i, (part, bits) in enumerate(curves.items()):
            axes.plot(range(1, len(bits) + 1), bits, style, color=f"C{i}", label=f"{part}, {direction}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    return figure


def draw_ranking(
    rows: Mapping[str, tuple[float, float, float]], levels: Mapping[str, float], xlabel: str
) -> Figure:
    """Draw a value and its interval for each name, from top to bottom, and vertical lines at labelled levels.

    Args:
        rows: by name, the value and the ends of its interval.
        levels: by label, where a dashed line stands.
        xlabel: label of the logarithmic x axis.
    """
    figure = new_figure(7, 1 + 0.22 * len(rows), layout="constrained")
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


def draw_transition_matrices(matrices: Mapping[int, Array], labels: Sequence[str]) -> Figure:
    """Draw k-step transition matrices side by side, rows by the token before, columns by the one after."""
    figure = new_figure(3.4 * len(matrices), 3.6, layout="constrained")
    for axes, (k, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        axes.imshow(matrix, cmap="viridis", vmin=0, vmax=0.5)
        axes.set_xticks(range(len(labels)), labels, fontsize=6, parse_math=False)
        axes.set_yticks(range(len(labels)), labels, fontsize=6, parse_math=False)
        axes.set_title(f"{k} step{'s' if k > 1 else ''}", fontsize=10)
    return figure
