"""What the book shows and publishes: its figures in their order, and its numbers.

The numbers are those of *Dive into Deep Learning*: chapter 8 of the first edition (E1), 9 of the second (E2).
"""

from typing import NamedTuple


class FigureText(NamedTuple):
    """The text of a figure.

    Attributes:
        path: below `data/reports/figures`, without the extension. `*` stands for names from params.yaml.
        title: the title; `{}` is replaced with such a name.
        sentence: what to see.
        shape: `wide` if it has a row of its own, `tall` if it is as high as two others.
    """

    path: str
    title: str
    sentence: str
    shape: str = ""


FIGURES = {
    "The series": [
        FigureText(
            "series/series",
            "The series",
            "A sine with normal noise; no forecast can have a smaller error than the noise.",
        ),
        FigureText(
            "forecast/one_step",
            "One-step forecasts",
            "Each forecast is made from true observations, and all models stay near the data.",
        ),
        FigureText(
            "forecast/multistep",
            "Multistep forecasts",
            "Fed with their own predictions, the book's models decay to a constant.",
        ),
        FigureText(
            "forecast/k_step_*",
            "k-step forecasts of {}",
            "Up to 4 steps the forecast follows the data; at 64 steps it is almost useless.",
        ),
        FigureText(
            "forecast/error_by_horizon",
            "Error by horizon",
            "The error of the book's models rises with every step and leaves the level of the noise.",
        ),
    ],
    "Better forecasts": [
        FigureText(
            "tau/tau",
            "Error against the number of past observations",
            "Without noise two observations are enough; with noise a forecast of many steps gains from many more.",
        ),
        FigureText(
            "backtest/error_by_horizon",
            "Error by horizon, all strategies",
            "Strategies with many lags, or with the right form, stay near the noise at every horizon.",
            shape="tall",
        ),
        FigureText(
            "backtest/multistep",
            "Multistep forecasts, all strategies",
            "The strategy that the past chooses follows the series to its end.",
        ),
        FigureText(
            "backtest/error_growth",
            "Growth of the error",
            "The book's rule for growing errors explains the first steps, until the forecast has decayed.",
        ),
        FigureText(
            "intervals/fan",
            "Prediction intervals",
            "The band of each level holds the share of the observations that its level promises.",
        ),
        FigureText(
            "intervals/coverage",
            "Coverage by horizon",
            "The closer a curve is to its level, the more reliable are the intervals at that horizon.",
            shape="tall",
        ),
        FigureText("intervals/width", "Width by horizon", "Better forecasts have narrower intervals."),
    ],
    "Counting text": [
        FigureText(
            "ngrams/zipf_unigram",
            "Zipf's law, words",
            "Frequency against rank is close to a straight line on logarithmic axes.",
        ),
        FigureText(
            "ngrams/zipf",
            "Zipf's law, n-grams",
            "Longer n-grams have flatter lines: there are more of them, and most occur once.",
        ),
        FigureText(
            "ngrams/transitions",
            "Markov chain of characters",
            "Powers of the transition matrix: after a few steps every row is the same and the start is forgotten.",
            shape="wide",
        ),
        FigureText(
            "ngram_models/*",
            "n-gram models of the corpus {}",
            "More context helps until the counts become too sparse; good smoothing moves that point.",
        ),
    ],
    "Recurrent networks": [
        FigureText(
            "training/*",
            "Perplexity of {}",
            "A train perplexity near 1 means that the model knows the training text by heart.",
        ),
        FigureText(
            "language_models/ranking",
            "All language models",
            "Bits per character of text that no model has seen, with 95 % intervals.",
            shape="tall",
        ),
    ],
    "Backpropagation through time": [
        FigureText(
            "bptt/strategies",
            "Where gradients are cut",
            "The first characters of the text in segments of random length, of equal length, and in one piece.",
            shape="wide",
        ),
        FigureText(
            "bptt/gradient_norm",
            "Gradient norm against lag",
            "Gradients vanish or explode by the largest eigenvalue of the hidden-to-hidden weights.",
        ),
        FigureText(
            "bptt/estimates",
            "Bias and variance",
            "Truncation is biased and has little variance; randomised truncation is the reverse.",
        ),
        FigureText(
            "bptt/training", "Training with cut gradients", "What each way of cutting costs in perplexity."
        ),
    ],
}


class Published(NamedTuple):
    """A number of the book, and where its counterpart stands.

    Attributes:
        what: the quantity.
        edition: of the book.
        published: the number, or the words, as published.
        report: the report in `data/reports`.
        keys: the nested keys of the number in the report.
        digits: decimal places to show.
    """

    what: str
    edition: str
    published: str
    report: str
    keys: tuple[str, ...]
    digits: int = 2


PUBLISHED = [
    Published("Characters, cleaned line by line", "E1", "170,580", "text", ("corpora", "lines", "tokens"), 0),
    Published("Characters, cleaned as a whole", "E2", "173,428", "text", ("corpora", "whole", "tokens"), 0),
    Published("Vocabulary of characters", "E1, E2", "28", "text", ("corpora", "lines", "vocab_size"), 0),
    Published("Vocabulary of words", "E1", "4,580", "text", ("corpora", "words", "vocab_size"), 0),
    Published(
        "Train perplexity, from scratch, sequential",
        "E1",
        "1.0",
        "training",
        ("e1_scratch_sequential", "perplexity"),
    ),
    Published(
        "Train perplexity, from scratch, random", "E1", "1.5", "training", ("e1_scratch_random", "perplexity")
    ),
    Published(
        "Train perplexity, concise, sequential", "E1", "1.3", "training", ("e1_concise_sequential", "perplexity")
    ),
    Published(
        "Validation perplexity, concise, windows",
        "E2",
        "about 7.4",
        "training",
        ("e2_concise_windows", "val_perplexity"),
    ),
    Published(
        "RMSE of the MLP, 1 step ahead", "E1", "near the noise, 0.2", "forecast", ("mlp", "k_step_rmse", "1")
    ),
    Published("RMSE of the MLP, 4 steps ahead", "E1", "still good", "forecast", ("mlp", "k_step_rmse", "4")),
    Published("RMSE of the MLP, 64 steps ahead", "E1", "almost useless", "forecast", ("mlp", "k_step_rmse", "64")),
    Published(
        "RMSE of the MLP, fed back to the end",
        "E1",
        "a spectacular failure",
        "forecast",
        ("mlp", "multistep_rmse"),
    ),
]


class Headline(NamedTuple):
    """A headline number.

    Attributes:
        key: in `data/reports/summary.json`.
        label: what it is.
        note: of which model or data.
        unit: its unit.
        lower_is_better: whether a smaller value is better; None if a value near its level is.
    """

    key: str
    label: str
    note: str
    unit: str
    lower_is_better: bool | None = True


HEADLINES = [
    Headline("test_bpc", "Best language model, test", "every character scored once", "bits per character"),
    Headline("val_bpc", "Best language model, validation", "the part that all choices use", "bits per character"),
    Headline("rnn_bpc", "Best recurrent network, test", "one trained checkpoint", "bits per character"),
    Headline("kn_bpc", "Best Kneser–Ney, test", "the baseline: counting", "bits per character"),
    Headline("rmse_1", "Forecast, 1 step", "the strategy that the past chooses", "RMSE"),
    Headline("rmse_multi", "Forecast, fed back to the end", "the strategy that the past chooses", "RMSE"),
    Headline("coverage", "Coverage", "share of observations in the widest intervals", "", None),
]
