"""Figures of language models, drawn from plain values and the content of JSON reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from timemachine.plots.figure import Array, draw_lines, label_logarithmic, new_axes, new_figure


def draw_perplexity(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw perplexity against epoch, from the rows of `history.csv` of a language model."""
    labels = {"train": "perplexity", "validation": "val_perplexity"}
    epochs = [row["epoch"] for row in rows]
    curves = {label: (epochs, [row[key] for row in rows]) for label, key in labels.items() if key in rows[0]}
    figure = draw_lines(curves, "epoch", "perplexity", logarithmic="y")
    label_logarithmic(figure.axes[0].yaxis, subs=(1, 2, 3, 5, 7))
    return figure


def draw_by_order(report: Mapping[str, Any]) -> Figure:
    """Draw the bits per character of Kneser–Ney models against their order: a line forward, crosses backward.

    Args:
        report: the entry of a corpus in `ngram_models.json`; `models` and `reversed` hold the scores by model and
            part, and the names in `reversed` are in ascending order.
    """
    figure, axes = new_axes("order", "bits per character")
    for direction, scores, style in (("forward", report["models"], "-"), ("backward", report["reversed"], "x")):
        for i, part in enumerate(("val", "test")):
            bits = [scores[name][part]["bits_per_character"] for name in report["reversed"]]
            axes.plot(range(1, len(bits) + 1), bits, style, color=f"C{i}", label=f"{part}, {direction}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def draw_ranking(report: Mapping[str, Any]) -> Figure:
    """Draw the test bits per character of models and their intervals, best on top, and compressors as lines.

    Args:
        report: `language_models.json`. A model without an interval is left out.
    """
    rows = {name: row["test"] for name, row in report["models"].items() if "low" in row["test"]}
    figure = new_figure(7, 1 + 0.22 * len(rows), layout="constrained")
    axes = figure.subplots()
    values, lows, highs = (
        np.array([row[key] for row in rows.values()]) for key in ("bits_per_character", "low", "high")
    )
    places = np.arange(len(rows))
    # If all tokens have the same score the interval is a point, up to rounding.
    errors = np.clip([values - lows, highs - values], 0, None)
    axes.errorbar(values, places, xerr=errors, fmt="o", ms=4, lw=1.2, capsize=2)
    for place, value, high in zip(places, values, highs, strict=True):
        axes.annotate(f"{value:.3f}", (high, place), (5, 0), textcoords="offset points", va="center", fontsize=7)
    for i, (name, bits) in enumerate(report["compressors"].items(), 1):
        axes.axvline(bits["test"], color=f"C{i}", ls="--", lw=1, label=f"{name} {bits['test']:.3f}")
    axes.set(
        xlabel="test bits per character",
        xscale="log",
        ylim=(len(rows) - 0.5, -0.5),
        xlim=(None, 1.12 * float(highs.max())),
    )
    axes.set_yticks(places, list(rows), fontsize=8)
    label_logarithmic(axes.xaxis, subs=(1, 1.5, 2, 3, 4, 5, 7))
    axes.legend(loc="lower left")
    served = report["best_checkpoint"] or "none"
    axes.set_title(f"best on the validation part: {report['best']}\nbest with a checkpoint: {served}", fontsize=9)
    return figure


def draw_transition_matrices(matrices: Mapping[int, Array], labels: Sequence[str]) -> Figure:
    """Draw k-step transition matrices side by side: rows by the earlier token, columns by the later one.

    Args:
        matrices: (vocab, vocab) each, by k.
        labels: the tokens of the vocabulary.
    """
    figure = new_figure(3.4 * len(matrices), 3.6, layout="constrained")
    for axes, (k, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        axes.imshow(matrix, cmap="viridis", vmin=0, vmax=0.5)
        axes.set_xticks(range(len(labels)), labels, fontsize=6, parse_math=False)
        axes.set_yticks(range(len(labels)), labels, fontsize=6, parse_math=False)
        axes.set_title(f"{k} step{'s' if k > 1 else ''}")
        axes.grid(False)
    return figure
