"""Context mixing: many counted experts, mixed with weights that are learnt as the text is read.

A token is predicted, then everything learns from it: the model is adaptive, and no prediction depends on the token
itself or on what follows it. Only the weights of the mixer may know more: a first pass over the second half of the
training text leaves them behind, and the second pass starts with them and with empty tables.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.compiled import SOURCES, entry
from timemachine.language.ngrams.contexts import CONTEXTS, History, append, new_history, set_contexts
from timemachine.language.ngrams.experts import (
    SELECTORS,
    Experts,
    Layout,
    choose,
    expert_names,
    new_experts,
    num_values,
    predict,
)
from timemachine.language.ngrams.mixer import Mixers, join, learn, mix, new_mixers, reset
from timemachine.language.ngrams.state_maps import learn_states
from timemachine.language.ngrams.tables import Tables, count, look_up, new_tables, with_room

MOST_TOKENS = 256
FIRST_PASS = "first pass"  # noqa: S105  no password
_BLOCK = 4096  # tokens between two looks at the room of the tables


class State(NamedTuple):
    """All that changes while a text is read, except the weights.

    Attributes:
        history: what contexts are made of.
        contexts: (num_contexts,) hashes of the present contexts.
        tables: the counts.
        experts: what predicts.
        chosen: (num_selectors,) values of the selectors.
        position: (1,) number of tokens read.
    """

    history: History
    contexts: NDArray[np.uint64]
    tables: Tables
    experts: Experts
    chosen: NDArray[np.int64]
    position: NDArray[np.int64]


class ContextMixing:
    """A model that has read a part of a text of characters.

    Args:
        vocabulary: the tokens, at most 256.
        layout: the experts.
        lr: learning rate of the mixers.
        without: for each mixer what it lacks: kinds of experts (up to the colon in `expert_names`), selectors, or
            `FIRST_PASS`. The first one is the model; others show what each part brings.
        tell: called with the number of tokens read so far, after each block of 4096.

    Raises:
        UserError: the vocabulary is too large.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        layout: Layout,
        lr: float,
        without: Sequence[Collection[str]] = ((),),
        tell: Callable[[int], object] = lambda _: None,
    ) -> None:
        if (n := len(vocabulary)) > MOST_TOKENS:
            raise UserError(
                f"context mixing needs a vocabulary of at most {MOST_TOKENS} tokens, and this one has {n}"
            )
        self._vocabulary, self._layout, self._without = vocabulary, layout, without
        self._tell, self._num_read = tell, 0
        kinds = [name.partition(":")[0] for name in expert_names(layout)]
        experts, selectors = (
            np.array([[name not in lacked for name in names] for lacked in without])
            for names in (kinds, SELECTORS)
        )
        self._state = self._new_state()
        self._mixers = new_mixers(experts, selectors, num_values(n), n, lr)

    def _new_state(self) -> State:
        vocab_size = len(self._vocabulary)
        experts, tables = new_experts(self._layout, vocab_size)
        return State(
            new_history(self._vocabulary),
            np.zeros(len(CONTEXTS), dtype=np.uint64),
            new_tables(tables, vocab_size),
            experts,
            np.zeros(len(SELECTORS), dtype=np.int64),
            np.zeros(1, dtype=np.int64),
        )

    def forget(self) -> None:
        """Forget all but the weights, as before the first token; mixers without `FIRST_PASS` forget them too."""
        self._state = self._new_state()
        reset(self._mixers, np.array([FIRST_PASS in lacked for lacked in self._without]))

    def join(self, networks: NDArray[np.bool_]) -> None:
        """Replace the mixers by copies of the first one, which mix further experts.

        Args:
            networks: (num_copies, num_networks) the experts that join each copy; `read` takes their predictions.
        """
        self._mixers = join(self._mixers, networks)

    def count(self, tokens: NDArray[np.integer]) -> None:
        """Read tokens (num_tokens,) without predicting them, which is faster; only counts learn from them."""
        self._read(tokens, predicting=False)

    def learn(self, tokens: NDArray[np.integer]) -> None:
        """Read tokens (num_tokens,): predict each, then learn from it."""
        self._read(tokens)

    def read(
        self, tokens: NDArray[np.integer], networks: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Read tokens, and return all predictions.

        Args:
            tokens: (num_tokens,) indices.
            networks: (num_tokens, num_networks, vocab_size) log P of the experts that have joined.

        Returns:
            log P of the whole vocabulary at each place by each mixer, (num_tokens, num_mixers, vocab_size).
        """
        log_P = np.empty((len(tokens), *self._mixers.log_P.shape))
        self._read(tokens, networks, log_P)
        return log_P

    def history(self) -> History:
        """Return a history for `follow`: that of a new text, with the word that has followed each word so far."""
        return new_history(self._vocabulary)._replace(followers=self._state.history.followers.copy())

    def follow(self, history: History, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
        """Append tokens to a history and return the predictions after each; nothing is learnt from them.

        Args:
            history: what stands before the tokens; it is brought up to date.
            tokens: (num_tokens,) indices.

        Returns:
            log P (num_tokens, vocab_size) by the first mixer.
        """
        log_P = np.empty((len(tokens), *self._mixers.log_P.shape))
        networks, experts = np.empty((len(tokens), 0, log_P.shape[2])), self._room_for_experts()
        state = self._state._replace(history=history)
        _read_block(state, self._mixers, tokens.astype(np.int64), networks, experts, log_P, True, False)
        return log_P[:, 0]

    def _room_for_experts(self) -> NDArray[np.float64]:
        return np.zeros((self._mixers.experts.shape[1], len(self._vocabulary)))

    def _read(
        self,
        tokens: NDArray[np.integer],
        networks: NDArray[np.floating] | None = None,
        log_P: NDArray[np.float64] | None = None,
        predicting: bool = True,
    ) -> None:
        vocab_size, experts = len(self._vocabulary), self._room_for_experts()
        for begin in range(0, len(tokens), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            block_tokens = tokens[block].astype(np.int64)
            block_networks = (
                np.empty((len(block_tokens), 0, vocab_size)) if networks is None else networks[block].astype(float)
            )
            out = np.empty((0, 0, 0)) if log_P is None else log_P[block]
            self._state = self._state._replace(tables=with_room(self._state.tables, len(block_tokens)))
            _read_block(self._state, self._mixers, block_tokens, block_networks, experts, out, predicting, True)
            self._num_read += len(block_tokens)
            self._tell(self._num_read)


def _reader(sources: str) -> Callable[..., None]:
    @entry
    def read_block(
        state: State,
        mixers: Mixers,
        tokens: NDArray[np.int64],
        networks: NDArray[np.float64],
        log_P: NDArray[np.float64],
        out: NDArray[np.float64],
        predicting: bool,
        learning: bool,
    ) -> None:
        sources  # noqa: B018  part of the key under which the machine code is kept
        history, contexts, tables, experts, chosen, positions = state
        mixed, maps = mixers.log_P, experts.maps
        first = len(log_P) - networks.shape[1]
        for i in range(len(tokens)):
            position, token = positions[0], tokens[i]
            if not learning:
                append(history, token)
            set_contexts(history, contexts)
            look_up(tables, contexts)
            if predicting:
                predict(experts, tables, position, log_P)
                for k in range(networks.shape[1]):
                    for v in range(log_P.shape[1]):
                        log_P[first + k, v] = networks[i, k, v]
                choose(experts, tables, history, chosen)
                mix(mixers, chosen, log_P)
                if len(out) > 0:
                    for m in range(out.shape[1]):
                        for v in range(out.shape[2]):
                            out[i, m, v] = mixed[m, v]
            if learning:
                if predicting:
                    learn(mixers, chosen, log_P, token)
                    learn_states(maps, token)
                count(tables, contexts, token, position)
                append(history, token)
                positions[0] += 1

    return read_block


_read_block = _reader(SOURCES)
