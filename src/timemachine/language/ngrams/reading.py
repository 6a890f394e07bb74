"""Counted models that learn as they read, on the held-out parts of a corpus: context mixtures and Kneser–Ney."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.config import ContextMixingParams
from timemachine.language.ngrams.context_mixing import FIRST_PASS, ContextMixing
from timemachine.language.ngrams.contexts import LETTERS
from timemachine.language.ngrams.experts import CACHES, CHAINS, SELECTORS, STATE_MAPS, Layout
from timemachine.language.scoring.score import Readings, held_out_readings, nats_of
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

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
    held_out = _held_out(corpus)
    log_P = read_train_part(corpus, p, num_after=len(held_out), show=show).read(held_out)
    return held_out_readings(log_P[:, 0], corpus)


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
    means = [
        np.mean([np.concatenate([one[f"{part}.log_P"] for part in HELD_OUT]) for one in models], axis=0)
        for models in networks.values()
    ]
    held_out = _held_out(corpus)
    model = read_train_part(corpus, p, num_after=len(held_out), show=show)
    model.join(np.eye(len(means), dtype=bool))
    log_P = model.read(held_out, np.stack(means, axis=1))
    return {name: held_out_readings(log_P[:, i], corpus) for i, name in enumerate(networks)}


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
    log_P = model.read(tokens)
    bits = nats_of(log_P.transpose(1, 0, 2), tokens).mean(1) / np.log(2)
    rows = zip(PARTS_LEFT_OUT, bits.tolist(), strict=True)
    return {name: {"bits_per_character": b, "more": b - float(bits[0])} for name, b in rows}


def read_adaptive_kneser_ney(corpus: Corpus, order: int) -> Readings:
    """Return the predictions of a Kneser–Ney model that counts each token after it is scored.

    Args:
        corpus: a corpus of characters, counted from its first token.
        order: at most 9.
    """
    layout = Layout({"letters": (LETTERS[:order], 1)})
    model = ContextMixing(corpus.vocabulary.tokens, layout, lr=0.0)
    model.count(corpus.part("train"))
    return held_out_readings(model.read(_held_out(corpus))[:, 0], corpus)


def _held_out(corpus: Corpus) -> NDArray[np.unsignedinteger]:
    return corpus.tokens[corpus.split["val"][0] : corpus.split["test"][1]]
