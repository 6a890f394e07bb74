"""Figures of language models, drawn from plain values and the content of JSON reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from timemachine.plots.figure import Array, add_legend, draw_lines, label_logarithmic, new_axes, new_figure


def draw_frequencies(curves: Mapping[str, tuple[NDArray[np.integer], NDArray[np.integer]]]) -> Figure:
    """Draw how often n-grams occur against their rank, from ranks and counts (num_ranks,) for each label."""
    title = f"Zipf’s law: frequency of {', '.join(f'{label}s' for label in curves)} by rank"
    figure = draw_lines(
        curves, title, "rank (1 is the most frequent)", "frequency (occurrences)", logarithmic="xy"
    )
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        label_logarithmic(axis)
    return figure


def draw_perplexity(rows: Sequence[Mapping[str, float]], name: str) -> Figure:
    """Draw perplexity against epoch, from the rows of `history.csv` of a language model."""
    labels = {"train": "perplexity", "validation": "val_perplexity"}
    epochs = [row["epoch"] for row in rows]
    curves = {label: (epochs, [row[key] for row in rows]) for label, key in labels.items() if key in rows[0]}
    figure = draw_lines(curves, f"{name}: perplexity by epoch", "epoch", "perplexity of a token", logarithmic="y")
    label_logarithmic(figure.axes[0].yaxis, subs=(1, 2, 3, 5, 7))
    return figure


def draw_by_order(report: Mapping[str, Any], corpus: str) -> Figure:
    """Draw the bits per character of Kneser–Ney models against their order: a line forward, crosses backward.

    Args:
        report: the entry of a corpus in `ngram_models.json`; `models` and `reversed` hold the scores by model and
            part, and the names in `reversed` are in ascending order.
        corpus: name of the corpus.
    """
    title = f"Kneser–Ney models of the corpus “{corpus}”, read forward and backward"
    figure, axes = new_axes(title, "order n of the n-grams", "bits per character")
    for direction, scores, style in (("forward", report["models"], "-"), ("backward", report["reversed"], "x")):
        for i, part in enumerate(("val", "test")):
            bits = [scores[name][part]["bits_per_character"] for name in report["reversed"]]
            axes.plot(range(1, len(bits) + 1), bits, style, color=f"C{i}", label=f"{part}, {direction}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure)
    return figure


def draw_ranking(report: Mapping[str, Any]) -> Figure:
    """Draw the test bits per character of models and their intervals, best on top, and compressors as lines.

    Args:
        report: `language_models.json`. A model without an interval is left out.
    """
    rows = {name: row["test"] for name, row in report["models"].items() if "low" in row["test"]}
    figure = new_figure("Language models on the test part, the best on top", 7, 1.6 + 0.22 * len(rows))
    axes = figure.subplots()
    values, lows, highs = (
        np.array([row[key] for row in rows.values()]) for key in ("bits_per_character", "low", "high")
    )
    places = np.arange(len(rows))
    for i, (name, bits) in enumerate(report["compressors"].items(), 1):
        label = f"{name} {bits['test']:.3f}"
        axes.axvline(bits["test"], color=f"C{i}", ls=("--", "-.", ":")[i % 3], lw=1.2, label=label)
    # If all tokens have the same score the interval is a point, up to rounding.
    errors = np.clip([values - lows, highs - values], 0, None)
    axes.errorbar(values, places, xerr=errors, fmt="o", ms=4, lw=1.2, capsize=2, color="C0", label="95 % interval")
    axes.set(xlabel="bits per character", ylabel="model", xscale="log", ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(places, list(rows), fontsize=8)
    # The values stand beside the axes, where no line crosses them.
    axes.secondary_yaxis("right").set_yticks(places, [f"{value:.3f}" for value in values], fontsize=8)
    label_logarithmic(axes.xaxis, subs=(1, 1.5, 2, 3, 4, 5, 7))
    served = report["best_checkpoint"] or "none"
    axes.set_title(f"best on the validation part: {report['best']}\nbest with a checkpoint: {served}", fontsize=9)
    add_legend(figure)
    return figure


def draw_transition_matrices(matrices: Mapping[int, Array], labels: Sequence[str]) -> Figure:
    """Draw k-step transition matrices, two in a row: rows by the earlier token, columns by the later one.

    Args:
        matrices: (vocab, vocab) each, by k.
        labels: the tokens of the vocabulary; a space is drawn as ␣.
    """
    num_columns, tokens = min(2, len(matrices)), ["␣" if label == " " else label for label in labels]
    num_rows = -(-len(matrices) // num_columns)
    figure = new_figure(
        "Markov chain: probabilities of the character k steps later", 0.9 + 3.5 * num_columns, 0.5 + 3.7 * num_rows
    )
    grid = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    figure.set_layout_engine("compressed")
    # Most probabilities are small: their square roots are coloured.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    for axes, (k, matrix) in zip(grid, matrices.items(), strict=False):
        image = axes.imshow(matrix, cmap="viridis", norm=norm)
        axes.set_xticks(range(len(tokens)), tokens, fontsize=7, parse_math=False)
        axes.set_yticks(range(len(tokens)), tokens, fontsize=7, parse_math=False)
        for label in axes.get_xticklabels():
            label.set_rotation(90 if len(label.get_text()) > 1 else 0)
        axes.set_title(f"{k} step{'s' if k > 1 else ''}")
        axes.grid(False)
    for axes in grid[len(matrices) :]:
        axes.axis("off")
    figure.supxlabel("character k steps later", fontsize="medium")
    figure.supylabel("character", fontsize="medium")
    figure.colorbar(image, ax=grid, shrink=0.6, ticks=[0, 0.01, 0.05, 0.1, 0.2, 0.5, 1], label="probability")
    return figure
