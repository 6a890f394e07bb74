"""Probabilities of a few sequences under the additively smoothed models of a text of any length.

The equations are those of `smoothing.py`. Only the n-grams of the sequences are counted, in one pass over the
text.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.counts import find_keys, pack

Tokens = NDArray[np.integer]

# Tokens of the text that are read at a time.
_BLOCK = 2**22


class Occurrences:
    """How often the uni-, bi- and trigrams of some sequences occur in a text.

    Args:
        tokens: (num_tokens,) the text, indices below `vocab_size`.
        vocab_size: number of indices.
        sequences: (num_tokens,) indices each.
    """

    def __init__(self, tokens: Tokens, vocab_size: int, sequences: Sequence[Tokens]) -> None:
        self._vocab_size, self._num_tokens = vocab_size, len(tokens)
        self._known = [
            np.unique(np.concatenate([np.empty(0, np.int64), *(self._keys(s, n) for s in sequences)]))
            for n in (1, 2, 3)
        ]
        self._counts = [np.zeros(len(known), dtype=np.int64) for known in self._known]
        occurs, begins = np.zeros(vocab_size, dtype=bool), np.zeros(vocab_size, dtype=bool)
        begins[self._known[0]] = True  # most n-grams of the text begin otherwise
        for begin in range(0, len(tokens), _BLOCK):
            block = np.asarray(tokens[begin : begin + _BLOCK + 2])
            occurs[block] = True
            starts = np.flatnonzero(begins[block[:_BLOCK]])
            for n, (known, counts) in enumerate(zip(self._known, self._counts, strict=True), 1):
                whole = starts[starts + n <= len(block)]
                keys = pack(np.stack([block[whole + i] for i in range(n)], axis=1), vocab_size)
                places = find_keys(known, keys)
                counts += np.bincount(places[places >= 0], minlength=len(known))
        self._num_distinct = int(occurs.sum())
        # The last n-gram of the text is no context.
        self._last = [self._keys(tokens[-n:], n) for n in (1, 2)]

    def log_probabilities(self, tokens: Tokens, order: int, epsilon: Sequence[float]) -> NDArray[np.float64]:
        """Return log P of each token (num_tokens,) of one of the sequences, in nats; −∞ where P is 0.

        Args:
            tokens: the sequence; its first order − 1 tokens are scored by the models of lower orders.
            order: 1, 2 or 3.
            epsilon: ε₁, ε₂, ε₃.
        """
        P = np.empty(0)
        for n in range(1, order + 1):
            P = np.concatenate([P[: n - 1], self._probabilities(tokens, n, epsilon)])
        with np.errstate(divide="ignore"):
            return np.log(P)

    def _probabilities(self, tokens: Tokens, n: int, epsilon: Sequence[float]) -> NDArray[np.float64]:
        """Return P̂ of each of the tokens after the first n − 1."""
        joint = self._look_up(self._keys(tokens, n), n)
        if n == 1:
            context, lower = np.full(len(joint), self._num_tokens), np.full(len(joint), 1 / self._num_distinct)
        else:
            before = self._keys(tokens[:-1], n - 1)
            context = self._look_up(before, n - 1) - np.isin(before, self._last[n - 2])
            lower = self._probabilities(tokens[n - 1 :], 1, epsilon)
        denominator = context + epsilon[n - 1]
        weighted = joint + epsilon[n - 1] * lower
        return np.divide(weighted, denominator, out=np.zeros(len(joint)), where=denominator > 0)

    def _keys(self, tokens: Tokens, n: int) -> NDArray[np.int64]:
        rows = [tokens[i : i + n] for i in range(len(tokens) - n + 1)]
        return pack(np.array(rows, dtype=np.int64).reshape(-1, n), self._vocab_size)

    def _look_up(self, keys: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        return np.append(self._counts[n - 1], 0)[find_keys(self._known[n - 1], keys)]
