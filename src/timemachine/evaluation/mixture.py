"""Mixtures of language models: P(x) = Σ_i w_i P_i(x), with weights that held-out text chooses."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NUM_ITERATIONS = 200


def fit_weights(nats: Array, prior: Array | None = None) -> Array:
    """Return the weights under which a mixture gives a text the highest probability.

    By expectation–maximisation, each step of which raises it; there is one maximum (Jelinek and Mercer, 1980).

    Args:
        nats: (num_models, num_tokens) −log P of the text's tokens under each model.
        prior: (num_models,) tokens that each model is taken to have explained beforehand; none by default.

    Returns:
        (num_models,) weights that sum to 1.
    """
    prior = np.zeros(len(nats)) if prior is None else prior
    P = np.exp(nats.min(0) - nats)  # relative to the best model, so that nothing underflows
    total = prior.sum() + P.shape[1]
    w = np.full(len(nats), 1 / len(nats))
    for _ in range(_NUM_ITERATIONS):
        share = w[:, None] * P  # (num_models, num_tokens)
        w = ((share / share.sum(0)).sum(1) + prior) / total
    return w


def fit_weights_by_context(
    nats: Array, contexts: NDArray[np.integer], num_contexts: int, num_prior: float
) -> Array:
    """Return weights for each kind of context, drawn to the common ones where there is little text.

    Args:
        nats: (num_models, num_tokens).
        contexts: (num_tokens,) kind of context before each token, from 0.
        num_contexts: how many kinds there are.
        num_prior: tokens' worth of the common weights that each kind starts with.

    Returns:
        (num_models, num_contexts) weights; each column sums to 1.
    """
    common = fit_weights(nats)
    return np.stack([fit_weights(nats[:, contexts == c], num_prior * common) for c in range(num_contexts)], axis=1)


def mixture_nats(nats: Array, weights: Array) -> Array:
    """Return −log P of each token (num_tokens,) under a mixture.

    Args:
        nats: (num_models, num_tokens).
        weights: (num_models,), or (num_models, num_tokens) for weights that change from token to token.
    """
    weights = weights[:, None] if weights.ndim == 1 else weights
    best = nats.min(0)
    return best - np.log((weights * np.exp(best - nats)).sum(0))
