"""Figures of gradients through time: values in, figures out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from timemachine.plots.figure import add_legend, draw_alike, draw_lines, label_logarithmic, new_figure, new_row


def draw_study(report: Mapping[str, Any], curves: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw the study of gradients: `strategies`, `gradient_norm`, `estimates` and `training`.

    Args:
        report: the content of `data/results/bptt.json`.
        curves: the content of `data/gradients/curves.json`.
    """
    losses = {name: (range(1, len(nats) + 1), nats) for name, nats in curves["training"].items()}
    rows = ("randomised", "truncated", "full")
    return {
        "strategies": draw_segments(curves["text"], {name: curves["cuts"][name] for name in rows}),
        "gradient_norm": _draw_gradient_norms(curves["norms"], curves["radii"]),
        "estimates": _draw_estimates(report["estimates"]),
        "training": draw_lines(
            losses, "Training loss with full, truncated and randomised gradients", "epoch", "nats per character"
        ),
    }


def _draw_gradient_norms(norms: Mapping[str, Sequence[float]], radii: Mapping[str, float]) -> Figure:
    """Draw norms of gradients against lag, and powers of the spectral radii as dashed lines of the same colour."""
    curves = {label: (np.arange(len(values)), values) for label, values in norms.items()}
    title, ylabel = (
        "Norm of the gradient at earlier steps",
        r"norm of $\partial L_T/\partial h_t$, relative to lag 0",
    )
    figure = draw_lines(curves, title, "lag T − t (steps)", ylabel, logarithmic="y")
    powers = {label: (lags, radii[label] ** lags) for label, (lags, _) in curves.items() if label in radii}
    draw_alike(figure, "spectral radius to the power of the lag", powers, "--", 0.8)
    return figure


def draw_segments(text: str, starts: Mapping[str, Sequence[int]]) -> Figure:
    """Draw a text as a row of cells for each label, divided before the characters with the given indices."""
    figure = new_figure("Segments within which gradients flow back in time", 7, 0.55 * len(starts) + 0.5)
    axes = figure.subplots()
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


def _draw_estimates(compared: Mapping[str, Any]) -> Figure:
    """Draw bias and variance of the gradient of W_hh, a marker for each network, on logarithmic scales."""
    title, networks = "Gradient of W_hh when gradients through time are cut", list(compared)
    labels = {"bias": "‖bias‖ / ‖gradient‖", "variance": "variance / ‖gradient‖²"}
    figure, grid = new_row(title, labels, sharey=True)
    for measure, axes in grid.items():
        dots = {"truncated, cuts anywhere": ("truncated_anywhere", measure), "randomised": ("randomised", measure)}
        if measure == "bias":
            dots["chance alone"] = ("randomised", "chance")
        for marker, (label, (truncation, key)) in zip("sox", dots.items(), strict=False):
            values = [by_weights["W_hh"][truncation][key] for by_weights in compared.values()]
            axes.plot(values, networks, ls="", marker=marker, label=label)
        axes.set(xscale="log", xlabel=labels[measure], ylim=(len(networks) - 0.5, -0.5))
        label_logarithmic(axes.xaxis, subs=(1, 3))
    figure.supylabel("network", fontsize="medium")
    add_legend(figure)
    return figure
