"""Mixtures of language models, with weights fitted on held-out text.

Arithmetic: P(x) = Σ_i w_i P_i(x), linear interpolation (Jelinek and Mercer, 1980).
Geometric: P(x) ∝ Π_i P_i(x)^{w_i}, log-linear interpolation (Klakow, 1998). It needs whole distributions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.language.scoring.score import blocks_of, nats_of

Array = NDArray[np.float64]
Distributions = Sequence[NDArray[np.floating]]  # those of long texts are float32, and converted in blocks

_NUM_EM_STEPS, _NUM_NEWTON_STEPS = 200, 50


def fit_arithmetic(nats: Array) -> Array:
    """Return the weights under which an arithmetic mixture gives a text the highest probability.

    By 200 steps of expectation–maximisation. Each step raises the probability, which has a single maximum.

    Args:
        nats: (num_models, num_tokens) −log P of the text's tokens under each model.

    Returns:
        (num_models,) weights that sum to 1.
    """
    P = np.exp(nats.min(0) - nats)  # relative to the best model, so that nothing underflows
    w = np.full(len(nats), 1 / len(nats))
    for _ in range(_NUM_EM_STEPS):
        share = w[:, None] * P  # (num_models, num_tokens)
        w = (share / share.sum(0)).mean(1)
    return w


def arithmetic_nats(nats: Array, weights: Array) -> Array:
    """Return −log P of each token (num_tokens,) under an arithmetic mixture.

    Args:
        nats: (num_models, num_tokens).
        weights: (num_models,).
    """
    best = nats.min(0)
    return best - np.log(weights @ np.exp(best - nats))


def fit_geometric(log_P: Distributions, tokens: NDArray[np.integer]) -> Array:
    """Return the weights under which a geometric mixture gives a text the highest probability.

    By Newton's method on the −log P of the text, which is convex in the weights. Its gradient is the expected
    log P of each model under the mixture minus the log P of the text; its Hessian is the covariance of the
    models' log P. A step that does not lower it is halved until it does.

    Args:
        log_P: (num_tokens, vocab) distributions of each model, finite.
        tokens: (num_tokens,) indices of the text.

    Returns:
        (num_models,) weights; they need not sum to 1.
    """

    def total_nats(w: Array) -> float:
        return float(geometric_nats(log_P, w, tokens).sum())

    starts = [np.full(len(log_P), 1 / len(log_P)), np.zeros(len(log_P)), *np.eye(len(log_P))]
    nats, w = min(((total_nats(start), start) for start in starts), key=lambda scored: scored[0])
    for _ in range(_NUM_NEWTON_STEPS):
        gradient, hessian = np.zeros(len(w)), np.zeros((len(w), len(w)))
        for block in blocks_of(len(tokens)):
            of_block = _derivatives(_stacked(log_P, block), w, tokens[block])
            gradient, hessian = gradient + of_block[0], hessian + of_block[1]
        # Identical models make the Hessian singular; least squares gives them equal weights.
        step = np.linalg.lstsq(hessian, -gradient, rcond=1e-10)[0]
        while (new_nats := total_nats(w + step)) >= nats and np.abs(step).max() > 1e-10:
            step = step / 2
        if new_nats >= nats:
            break
        nats, w = new_nats, w + step
    return w


def _derivatives(log_P: Array, w: Array, tokens: NDArray[np.integer]) -> tuple[Array, Array]:
    """Return the gradient (num_models,) and the Hessian (num_models, num_models) of the −log P of a text."""
    P = np.exp(geometric_log_probabilities(log_P, w))  # (num_tokens, vocab)
    expected = (P * log_P).sum(2)  # (num_models, num_tokens)
    centred = (log_P - expected[..., None]) * np.sqrt(P)
    return (expected + nats_of(log_P, tokens)).sum(1), np.einsum("itv,jtv->ij", centred, centred)


def geometric_nats(log_P: Distributions, weights: Array, tokens: NDArray[np.integer]) -> Array:
    """Return −log P of each of the tokens (num_tokens,) under a geometric mixture.

    Args:
        log_P: (num_tokens, vocab) distributions of each model.
        weights: (num_models,).
        tokens: (num_tokens,) indices of the text.
    """
    blocks = blocks_of(len(tokens))
    return np.concatenate(
        [nats_of(geometric_log_probabilities(_stacked(log_P, b), weights), tokens[b]) for b in blocks]
    )


def _stacked(log_P: Distributions, block: slice) -> Array:
    """Return a block of the distributions, (num_models, block_tokens, vocab)."""
    return np.stack([P[block] for P in log_P]).astype(np.float64)


def geometric_log_probabilities(log_P: Array, weights: Array) -> Array:
    """Return log P (num_tokens, vocab) under a geometric mixture.

    Args:
        log_P: (num_models, num_tokens, vocab).
        weights: (num_models,).
    """
    total = np.tensordot(weights, log_P, 1)  # (num_tokens, vocab)
    total -= total.max(1, keepdims=True)
    return total - np.log(np.exp(total).sum(1, keepdims=True))
