"""First-order Markov chains: P(x_1 … x_T) = Π P(x_t | x_{t−1})."""

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError

Matrix = NDArray[np.float64]


def transition_matrix(tokens: NDArray[np.integer], vocab_size: int, k: int = 1) -> Matrix:
    """Return P(x_{t+k} | x_t), rows by x_t: the k-th power of the maximum-likelihood estimate of P(x_{t+1} | x_t).

    The shape is (vocab_size, vocab_size). A token that is never followed by another has probability 1 of staying,
    so that every row is a distribution.
    """
    pairs = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
    counts = np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size).astype(np.float64)
    counts[counts.sum(1) == 0] = np.eye(vocab_size)[counts.sum(1) == 0]
    return np.linalg.matrix_power(counts / counts.sum(1, keepdims=True), k)


def mean_nats(transitions: Matrix, tokens: NDArray[np.integer], k: int) -> float:
    """Return the mean of −log P(x_{t+k} | x_t) over the sequence that the k-step matrix was counted on, in nats.

    Raises:
        UserError: the sequence has no two tokens k apart.
    """
    if len(tokens) <= k:
        raise UserError(f"ngrams.markov_steps: a text of {len(tokens)} tokens has no pair {k} apart")
    return -float(np.log(transitions[tokens[:-k], tokens[k:]]).mean())
