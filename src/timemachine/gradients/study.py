"""The study of gradients through time: a trained network, linear ones, and learning, cut three ways."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from timemachine.base.errors import UserError, about
from timemachine.gradients.analysis import cost, estimates, linear_rnn, norms_by_lag, rate, read_window
from timemachine.gradients.config import BpttParams
from timemachine.gradients.truncation import STRATEGIES, randomised_gates, train_by_strategy, truncated_gates
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.plots.figure import draw_lines
from timemachine.plots.gradients import draw_dots, draw_gradient_norms, draw_segments
from timemachine.text.corpus import Corpus

Networks = dict[str, tuple[RNNScratch, Tensor | None]]


def rows_of_text(params: BpttParams, corpus: Corpus, train_range: tuple[int, int]) -> Tensor:
    """Return (batch_size, …) indices, evenly spread over a range: a warm-up, then the longest window wanted.

    Raises:
        UserError: the range is shorter than one row.
    """
    begin, end = train_range
    length = params.num_warmup + max(params.num_steps, params.num_lags + 1) + 1
    if end - begin < length:
        raise UserError(f"num_warmup + the longest window, {length} tokens, exceed the {end - begin} trained on")
    starts = np.linspace(begin, end - length, params.batch_size).astype(int)
    positions = starts[:, None] + np.arange(length)
    return torch.from_numpy(corpus.tokens[positions].astype("int64"))


def study(
    params: BpttParams, corpus: Corpus, model: RNNScratch, train_range: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Figure]]:
    """Return the report and the figures.

    Args:
        params: the section `bptt`.
        corpus: the corpus of the model.
        model: a trained network, which is turned to float64.
        train_range: first index, and one past the last, of the tokens it was trained on.

    Raises:
        UserError: too few tokens, or a network whose gradients are 0 or no finite numbers.
    """
    p = params
    state_bytes = p.batch_size * model.W_hh[0].nbytes
    rows = rows_of_text(p, corpus, train_range)
    with torch.no_grad():
        _, state = model.double()(rows[:, : p.num_warmup])
    rows = rows[:, p.num_warmup :]
    networks: Networks = {p.model: (model, state)}
    generator = Generator().manual_seed(p.seed)
    for radius in p.radii:
        networks[f"linear_{radius}"] = (linear_rnn(len(corpus.vocabulary), p.num_hiddens, radius, generator), None)
    drawn = torch.stack([randomised_gates(p.num_steps, p.tau, generator) for _ in range(p.num_draws)], 1)
    norms, compared = {}, {}
    for name, (network, state) in networks.items():
        with about(name):
            norms[name] = norms_by_lag(read_window(network, *_pair(rows, p.num_lags + 1), state))
            compared[name] = compare(p, network, rows, state, drawn)
    gates = {"full": torch.ones(p.num_steps, 1), "truncated": truncated_gates(p.num_steps, p.tau)[:, None]}
    curves = learning(p, corpus)
    report = {
        "gradient_norm": {
            name: {"rate": rate(n), "by_lag": {str(k): float(n[k]) for k in _powers_of_two(p.num_lags)}}
            for name, n in norms.items()
        },
        "estimates": compared,
        "cost": {name: cost(g, state_bytes) for name, g in (gates | {"randomised": drawn}).items()},
        "training": {name: {"nats": curve[-1]} for name, curve in curves.items()},
    }
    return report, figures(p, corpus, norms, compared, drawn[:, 0], curves)


def compare(
    params: BpttParams, network: RNNScratch, rows: Tensor, state: Tensor | None, drawn: Tensor
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return bias and variance of the gradients of one window, by weights and strategy.

    `truncated` cuts at multiples of tau, `truncated_anywhere` is over all tau offsets of the cuts, `randomised`
    over the drawn gates (num_steps, draws). The full gradient is what they are compared with.
    """
    window = read_window(network, *_pair(rows, params.num_steps), state)
    offsets = torch.stack([truncated_gates(params.num_steps, params.tau, i) for i in range(params.tau)], 1)
    found = {
        "truncated": estimates(window, offsets[:, :1]),
        "truncated_anywhere": estimates(window, offsets),
        "randomised": estimates(window, drawn),
    }
    report: dict[str, dict[str, dict[str, Any]]] = {}
    for strategy, by_weights in found.items():
        for weights, estimate in by_weights.items():
            report.setdefault(weights, {})[strategy] = estimate.report()
    for weights, estimate in found["randomised"].items():
        report[weights]["randomised"] |= estimate.sampling_error()
    return report


def learning(params: BpttParams, corpus: Corpus) -> dict[str, list[float]]:
    """Return nats per token of each epoch by strategy, meant over the seeds.

    Raises:
        UserError: the train part is too short.
    """
    p = params.training
    tokens = torch.from_numpy(corpus.part("train")[corpus.num_added :][: p.num_train].astype("int64"))
    if len(tokens) < p.num_train:
        raise UserError(f"training.num_train: {p.num_train} exceeds the {len(tokens)} tokens of the train part")
    curves: dict[str, list[float]] = {}
    for strategy in STRATEGIES:
        runs = [train_by_strategy(params, strategy, tokens, len(corpus.vocabulary), seed) for seed in p.seeds]
        curves[strategy] = np.mean(runs, axis=0).tolist()
    return curves


def figures(
    params: BpttParams,
    corpus: Corpus,
    norms: dict[str, Tensor],
    compared: dict[str, dict[str, dict[str, dict[str, Any]]]],
    gates: Tensor,
    curves: dict[str, list[float]],
) -> dict[str, Figure]:
    """Draw the study: `strategies`, `gradient_norm`, `estimates` and `training`."""
    p = params
    text = corpus.tokenizer.decode(corpus.tokens[: p.num_steps].tolist())
    cuts = {"randomised": gates, "truncated": truncated_gates(p.num_steps, p.tau), "full": torch.ones(p.num_steps)}
    lags = np.arange(p.num_lags + 1)
    measured = {name: (lags, n.numpy()) for name, n in norms.items()}
    predicted = {f"linear_{radius}": (lags, radius**lags) for radius in p.radii}
    names = list(compared)
    panels = {
        title: {
            label: [compared[name]["W_hh"][strategy][key] for name in names]
            for label, strategy, key in (
                ("truncated, cuts anywhere", "truncated_anywhere", measure),
                ("randomised", "randomised", measure),
                *([("chance alone", "randomised", "chance")] if measure == "bias" else []),
            )
        }
        for title, measure in (("relative bias", "bias"), ("relative variance", "variance"))
    }
    epochs = range(1, p.training.num_epochs + 1)
    return {
        "strategies": draw_segments(
            text, {name: [i for i, g in enumerate(c) if g == 0] for name, c in cuts.items()}
        ),
        "gradient_norm": draw_gradient_norms(measured, predicted),
        "estimates": draw_dots(names, panels),
        "training": draw_lines(
            {name: (epochs, curve) for name, curve in curves.items()}, "epoch", "nats per token"
        ),
    }


def _pair(rows: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
    return rows[:, :num_steps], rows[:, 1 : num_steps + 1]


def _powers_of_two(largest: int) -> list[int]:
    return [2**i for i in range(largest.bit_length()) if 2**i <= largest]
