"""Counted models that learn as they read, on the held-out parts of a corpus: context mixtures and Kneser–Ney."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.config import ContextMixingParams
from timemachine.language.ngrams.context_mixing import FIRST_PASS, ContextMixing
from timemachine.language.ngrams.contexts import LETTERS
from timemachine.language.ngrams.experts import CACHES, CHAINS, SELECTORS, STATE_MAPS, Layout
from timemachine.language.scoring.score import Readings, blocks_of, held_out_readings, nats_of
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

_BLOCK = 2**14  # tokens whose predictions by all mixers are kept at a time
# What a mixture lacks in the comparison of its parts, by the name of the row.
_KINDS = (*CHAINS, "cache", "states")
PARTS_LEFT_OUT = {
    "nothing": (),
    **{kind: (kind,) for kind in _KINDS},
    "all but letters": tuple(kind for kind in _KINDS if kind != "letters"),
    **{f"weights by {selector}": (selector,) for selector in SELECTORS[1:]},
    "weights by context": SELECTORS[1:],
    FIRST_PASS: (FIRST_PASS,),
}


def read_train_part(
    corpus: Corpus,
    p: ContextMixingParams,
    without: Sequence[Sequence[str]] = ((),),
    num_after: int = 0,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> ContextMixing:
    """Return a context mixture that has read the train part.

    Args:
        corpus: a corpus of characters; the last `p.max_tokens` tokens of its train part are read.
        p: the knobs.
        without: as in `ContextMixing`.
        num_after: number of tokens that the model will read afterwards, for `show`.
        show: reports progress, also of these: tokens read, their number, and what is done.

    Raises:
        UserError: the vocabulary is too large, or the train part too short for the passes.
    """
    # A window longer than the text would only take memory.
    windows = (min(window, len(corpus.tokens)) for window in (p.windows.word, p.windows.letters))
    caches = list(zip(CACHES, windows, strict=True))
    train = corpus.part("train")[-p.max_tokens :]
    num_tokens = len(train) * min(p.num_passes, 2) + num_after

    def tell(num_read: int) -> None:
        show(num_read, num_tokens, "characters")

    model = ContextMixing(corpus.vocabulary.tokens, Layout(CHAINS, caches, STATE_MAPS), p.lr, without, tell)
    if len(train) < p.num_passes:
        raise UserError(
            f"num_passes: {p.num_passes} needs a train part of at least {p.num_passes} tokens; it has {len(train)}"
        )
    show(0, num_tokens, "characters, compiling")  # until the first block is read
    if p.num_passes > 1:
        half = len(train) // 2
        model.count(train[:half])
        model.learn(train[half:])
        model.forget()
    model.learn(train)
    return model


def read_context_mixing(
    corpus: Corpus, p: ContextMixingParams, show: Callable[[int, int, str], object] = lambda *_: None
) -> Readings:
    """Return the predictions of the context mixture without networks; `show` is as of `read_train_part`."""
    model = read_train_part(corpus, p, num_after=_num_held_out(corpus), show=show)
    [readings] = held_out_readings(_predictions(model, corpus), corpus)
    return readings


def read_with_networks(
    corpus: Corpus,
    p: ContextMixingParams,
    networks: Mapping[str, Sequence[Readings]],
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Readings]:
    """Return the predictions of context mixtures with recurrent models, by name.

    Args:
        corpus: the corpus.
        p: the knobs.
        networks: by the name of a mixture, the readings of the models whose mean log P is its further expert. The
            expert joins at the start of the validation part: networks were trained on the part before.
        show: as of `read_train_part`.
    """
    if not networks:
        return {}
    model = read_train_part(corpus, p, num_after=_num_held_out(corpus), show=show)
    model.join(np.eye(len(networks), dtype=bool))
    predictions = _predictions(model, corpus, list(networks.values()))
    return dict(zip(networks, held_out_readings(predictions, corpus, len(networks)), strict=True))


def leave_parts_out(
    corpus: Corpus, p: ContextMixingParams, show: Callable[[int, int, str], object] = lambda *_: None
) -> dict[str, dict[str, float]]:
    """Return the scores on the validation part of mixtures that lack one part each, by `PARTS_LEFT_OUT`.

    Args:
        corpus: as of `read_train_part`.
        p: the knobs.
        show: as of `read_train_part`.

    Returns:
        By name, `bits_per_character`, and `more`, how many more it needs than the whole mixture.
    """
    tokens = corpus.part("val")
    model = read_train_part(corpus, p, list(PARTS_LEFT_OUT.values()), len(tokens), show)
    nats = np.empty((len(tokens), len(PARTS_LEFT_OUT)))
    for block in blocks_of(len(tokens), _BLOCK):
        nats[block] = nats_of(model.read(tokens[block]).swapaxes(0, 1), tokens[block]).T
    bits = nats.mean(0) / np.log(2)
    rows = zip(PARTS_LEFT_OUT, bits.tolist(), strict=True)
    return {name: {"bits_per_character": b, "more": b - float(bits[0])} for name, b in rows}


def read_adaptive_kneser_ney(corpus: Corpus, order: int, max_tokens: int) -> Readings:
    """Return the predictions of a Kneser–Ney model that counts each token after it is scored.

    Args:
        corpus: a corpus of characters.
        order: at most 9.
        max_tokens: number of the last tokens of the train part that are counted before.
    """
    layout = Layout({"letters": (LETTERS[:order], 1)})
    model = ContextMixing(corpus.vocabulary.tokens, layout, lr=0.0)
    model.count(corpus.part("train")[-max_tokens:])
    [readings] = held_out_readings(_predictions(model, corpus), corpus)
    return readings


def _predictions(
    model: ContextMixing, corpus: Corpus, networks: Sequence[Sequence[Readings]] = ()
) -> Iterator[NDArray[np.float64]]:
    """Yield log P (block_tokens, num_mixers, vocab) of consecutive blocks of the held-out parts.

    Args:
        model: has read the train part.
        corpus: the corpus.
        networks: for each expert that has joined, the readings whose mean log P it is.
    """
    for part in HELD_OUT:
        tokens = corpus.part(part)
        for block in blocks_of(len(tokens), _BLOCK):
            means = [
                np.mean([one[f"{part}.log_P"][block] for one in models], axis=0, dtype=np.float64)
                for models in networks
            ]
            yield model.read(tokens[block], np.stack(means, axis=1) if means else None)


def _num_held_out(corpus: Corpus) -> int:
    return corpus.split["test"][1] - corpus.split["val"][0]
