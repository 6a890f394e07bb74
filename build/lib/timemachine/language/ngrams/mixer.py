"""Mixing of predictions with weights that are learnt as the text is read, and chosen by context.

    log P(v) = Σ_k w_k log P_k(v) − log Σ_u Π_k P_k(u)^{w_k},    w = Σ_q W[q, s_q]

A row of weights W[q, ·] belongs to each value of a selector q, and the weights in use are the sum of the rows that
the selectors choose. After each token the rows in use go down the gradient of −log P of the token,
g_k = Σ_v log P_k(v) (P(v) − [v = token]), each by Adagrad. This is logistic mixing (M. Mahoney, Adaptive Weighing
of Context Models for Lossless Data Compression, 2005) for any vocabulary (C. Mattern, Linear and Geometric
Mixtures, 2013); Adagrad is by J. Duchi, E. Hazan and Y. Singer, 2011.

Several mixers mix the same experts at once, each those that it is given: experts cost more than their mixture.
"""

from math import exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import compiled

# Weight and sum of squared gradients of an expert that joins, and the factor of the weights of the others then.
_JOINING_WEIGHT, _JOINING_SQUARES, _SHARE_OF_OTHERS = 0.4, 300.0, 0.7


class Mixers(NamedTuple):
    """Weights of experts, and the state of Adagrad.

    Attributes:
        weights: W (num_mixers, num_selectors, num_values, num_experts).
        squares: sums of squared gradients, shaped like W.
        experts: (num_mixers, num_experts) whether a mixer mixes an expert.
        selectors: (num_mixers, num_selectors) whether a selector chooses weights of a mixer.
        log_P: (num_mixers, vocab_size) the mixtures.
        errors: (vocab_size,) room for P minus the token that came.
        lr: (1,) learning rate.
    """

    weights: NDArray[np.float64]
    squares: NDArray[np.float64]
    experts: NDArray[np.bool_]
    selectors: NDArray[np.bool_]
    log_P: NDArray[np.float64]
    errors: NDArray[np.float64]
    lr: NDArray[np.float64]


def new_mixers(
    experts: NDArray[np.bool_], selectors: NDArray[np.bool_], num_values: int, vocab_size: int, lr: float
) -> Mixers:
    """Return mixers that take the mean of the log P of their experts.

    Args:
        experts: (num_mixers, num_experts) the experts of each.
        selectors: (num_mixers, num_selectors) the selectors of each. The first one, which every mixer needs, has
            one value; its row holds the first weights.
        num_values: largest number of values of a selector.
        vocab_size: number of tokens.
        lr: learning rate of Adagrad.
    """
    weights = np.zeros((*selectors.shape, num_values, experts.shape[1]))
    weights[:, 0, 0] = _mean_of(experts)
    mixed, errors = np.zeros((len(experts), vocab_size)), np.zeros(vocab_size)
    return Mixers(weights, np.ones_like(weights), experts, selectors, mixed, errors, np.array([lr]))


def reset(mixers: Mixers, which: NDArray[np.bool_]) -> None:
    """Give the mixers for which `which` (num_mixers,) is true the weights of new ones."""
    mixers.weights[which] = 0
    mixers.weights[which, 0, 0] = _mean_of(mixers.experts[which])
    mixers.squares[which] = 1


def _mean_of(experts: NDArray[np.bool_]) -> NDArray[np.float64]:
    return experts / experts.sum(1, keepdims=True)


def join(mixers: Mixers, networks: NDArray[np.bool_]) -> Mixers:
    """Return copies of the first mixer with further experts.

    Args:
        mixers: the mixers.
        networks: (num_copies, num_networks) the experts that join each copy.
    """
    num_copies, num_networks = networks.shape

    def copies(array: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(array[:1], num_copies, axis=0)

    def wider(array: NDArray[np.float64], value: float) -> NDArray[np.float64]:
        return copies(np.concatenate([array, np.full((*array.shape[:-1], num_networks), value)], axis=-1))

    weights = wider(_SHARE_OF_OTHERS * mixers.weights, 0.0)
    weights[:, 0, 0, -num_networks:] = _JOINING_WEIGHT * _mean_of(networks)
    return mixers._replace(
        weights=weights,
        squares=wider(mixers.squares, _JOINING_SQUARES),
        experts=np.concatenate([copies(mixers.experts), networks], axis=1),
        selectors=copies(mixers.selectors),
        log_P=copies(mixers.log_P),
    )


@compiled
def mix(mixers: Mixers, chosen: NDArray[np.int64], log_P: NDArray[np.float64]) -> None:
    """Set the mixture of each mixer.

    Args:
        mixers: the mixers.
        chosen: (num_selectors,) values of the selectors.
        log_P: (num_experts, vocab_size) the predictions.
    """
    weights, experts, selectors, mixed = mixers.weights, mixers.experts, mixers.selectors, mixers.log_P
    for m in range(len(mixed)):
        for v in range(mixed.shape[1]):
            mixed[m, v] = 0.0
        for k in range(len(log_P)):
            if experts[m, k]:
                w = 0.0
                for q in range(len(chosen)):
                    if selectors[m, q]:
                        w += weights[m, q, chosen[q], k]
                for v in range(mixed.shape[1]):
                    mixed[m, v] += w * log_P[k, v]
        highest, total = mixed[m, 0], 0.0
        for v in range(mixed.shape[1]):
            highest = max(highest, mixed[m, v])
        for v in range(mixed.shape[1]):
            total += exp(mixed[m, v] - highest)
        highest += log(total)
        for v in range(mixed.shape[1]):
            mixed[m, v] -= highest


@compiled
def learn(mixers: Mixers, chosen: NDArray[np.int64], log_P: NDArray[np.float64], token: int) -> None:
    """Move the weights in use so that the token would have been more probable. Arguments as those of `mix`."""
    weights, squares, experts, selectors = mixers.weights, mixers.squares, mixers.experts, mixers.selectors
    mixed, errors, lr = mixers.log_P, mixers.errors, mixers.lr[0]
    for m in range(len(mixed)):
        for v in range(mixed.shape[1]):
            errors[v] = exp(mixed[m, v])
        errors[token] -= 1.0
        for k in range(len(log_P)):
            if experts[m, k]:
                gradient = 0.0
                for v in range(mixed.shape[1]):
                    gradient += log_P[k, v] * errors[v]
                for q in range(len(chosen)):
                    if selectors[m, q]:
                        square = squares[m, q, chosen[q], k] + gradient * gradient
                        squares[m, q, chosen[q], k] = square
                        weights[m, q, chosen[q], k] -= lr * gradient / sqrt(square)
