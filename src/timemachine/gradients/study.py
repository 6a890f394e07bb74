"""The study of gradients through time: a trained network and linear ones, each with three truncations."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from timemachine.base.errors import UserError, about
from timemachine.gradients import analysis
from timemachine.gradients.config import BpttParams
from timemachine.gradients.truncation import TRUNCATIONS, randomised_gates, train_truncated, truncated_gates
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.text.tokens.corpus import Corpus
from timemachine.training.devices import device_of


def study_gradients(
    p: BpttParams,
    corpus: Corpus,
    model: RNNScratch,
    train_range: Sequence[int],
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure norms, bias, variance, cost and learning.

    Args:
        p: the section `bptt`.
        corpus: the corpus of the model.
        model: a trained network, on the device to compute on; it is converted to float64 in place.
        train_range: first index, and one past the last, of the tokens it was trained on.
        show: reports progress: networks or trainings done, their number, and which is next.

    Returns:
        The report, and the curves that only figures need. In the report, `truncated` cuts at multiples of tau,
        `truncated_anywhere` is the mean over the tau possible offsets of the cuts, and `randomised` over draws.
        The curves are `text`, the characters of a window; `cuts`, the steps at which it is cut, by truncation;
        `norms`, by network, for each lag; `radii`, the spectral radius of each linear network; `training`, nats
        per token of each epoch, by truncation.

    Raises:
        UserError: too few tokens, or a network whose gradients are 0 or not finite.
    """
    state_bytes = p.batch_size * model.W_hh[0].nbytes
    device = device_of(model)
    rows = _rows_of_text(p, corpus, train_range).to(device)
    with torch.no_grad():
        _, state = model.double()(rows[:, : p.num_warmup])
    rows = rows[:, p.num_warmup :]
    networks: dict[str, tuple[RNNScratch, Tensor | None]] = {p.model: (model, state)}
    generator = Generator().manual_seed(p.seed)
    radii = {f"linear_{radius}": radius for radius in p.radii}
    for name, radius in radii.items():
        network = analysis.linear_rnn(len(corpus.vocabulary), p.num_hiddens, radius, generator)
        networks[name] = (network.to(device), None)
    drawn = torch.stack([randomised_gates(p.num_steps, p.tau, generator) for _ in range(p.num_draws)], 1)
    anywhere = torch.stack([truncated_gates(p.num_steps, p.tau, i) for i in range(p.tau)], 1)
    gates = {"full": torch.ones(p.num_steps, 1), "truncated": anywhere[:, :1], "randomised": drawn}
    norms, compared = dict[str, Tensor](), {}
    for name, (network, state) in networks.items():
        show(len(norms), len(networks), f"networks, {name}")
        with about(name):
            norms[name] = analysis.norms_by_lag(analysis.Window(network, rows[:, : p.num_lags + 2], state))
            window = analysis.Window(network, rows[:, : p.num_steps + 1], state)
            found = {
                "truncated": analysis.estimate_gradients(window, anywhere[:, :1]),
                "truncated_anywhere": analysis.estimate_gradients(window, anywhere),
                "randomised": analysis.estimate_gradients(window, drawn, random=True),
            }
        compared[name] = {w: {kind: row[w] for kind, row in found.items()} for w in found["randomised"]}
    training = _training_curves(p, corpus, device, show)
    lags = [2**i for i in range(p.num_lags.bit_length())]
    report = {
        "gradient_norm": {
            name: {"rate": analysis.rate_by_step(n), "by_lag": {str(k): float(n[k]) for k in lags}}
            for name, n in norms.items()
        },
        "estimates": compared,
        "cost": {name: analysis.truncation_cost(g, state_bytes) for name, g in gates.items()},
        "training": {name: {"nats": curve[-1]} for name, curve in training.items()},
    }
    curves = {
        "text": corpus.tokenizer.decode(corpus.tokens[: p.num_steps].tolist()),
        "cuts": {name: torch.nonzero(g[:, 0] == 0).flatten().tolist() for name, g in gates.items()},
        "norms": {name: n.tolist() for name, n in norms.items()},
        "radii": radii,
        "training": training,
    }
    return report, curves


def _rows_of_text(params: BpttParams, corpus: Corpus, train_range: Sequence[int]) -> Tensor:
    """Return indices (batch_size, length), evenly spread over a range: a warm-up, then the longest window.

    Raises:
        UserError: the range is shorter than one row.
    """
    begin, end = train_range
    length = params.num_warmup + max(params.num_steps, params.num_lags + 1) + 1
    if end - begin < length:
        raise UserError(f"num_warmup + the longest window, {length} tokens, exceed the {end - begin} trained on")
    starts = np.linspace(begin, end - length, params.batch_size).astype(int)
    positions = starts[:, None] + np.arange(length)  # (batch_size, length)
    return torch.from_numpy(corpus.tokens[positions].astype("int64"))


def _training_curves(
    params: BpttParams, corpus: Corpus, device: torch.device, show: Callable[[int, int, str], object]
) -> dict[str, list[float]]:
    """Return nats per token of each epoch by truncation, averaged over the seeds.

    Raises:
        UserError: the train part is too short.
    """
    p = params.training
    tokens = torch.from_numpy(corpus.part("train")[corpus.num_added :][: p.num_train].astype("int64"))
    if len(tokens) < p.num_train:
        raise UserError(f"training.num_train: {p.num_train} exceeds the {len(tokens)} tokens of the train part")
    vocab_size = len(corpus.vocabulary)
    curves: dict[str, list[list[float]]] = {kind: [] for kind in TRUNCATIONS}
    for i, (kind, seed) in enumerate(product(TRUNCATIONS, p.seeds)):
        show(i, len(TRUNCATIONS) * len(p.seeds), f"trainings, {kind} gradients, seed {seed}")
        curves[kind].append(train_truncated(params, kind, tokens.to(device), vocab_size, seed))
    show(len(TRUNCATIONS) * len(p.seeds), len(TRUNCATIONS) * len(p.seeds), "trainings")
    return {kind: np.mean(of_seeds, axis=0).tolist() for kind, of_seeds in curves.items()}
