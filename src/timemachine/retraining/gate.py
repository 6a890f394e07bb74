"""The gate: it scores champion and challenger and decides whether the challenger is promoted.

Both models are scored by the same code on the same text, the validation and test part of the book, each in its own
vocabulary. The decision uses the validation part only. The test part is scored for the report; its score only has
to be finite.

With a margin above 0, each round could be slightly worse than the one before, and many rounds much worse.
Therefore a challenger is compared with the better of two scores: the present score of the champion, and the best
score of all champions so far on this text, which is stored with the champion. No champion is worse than the best
one by more than one margin.
"""

import hashlib
import math
import statistics
import timeit
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from timemachine.base.errors import UserError
from timemachine.language.generation.decoding import continue_sequences
from timemachine.language.models.trained import LanguageModel
from timemachine.language.ngrams.chain import log_probabilities
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.scoring.reading import read_parts
from timemachine.pipeline.params import Params, RetrainingParams
from timemachine.text.clean import decode
from timemachine.text.corpus import HELD_OUT, Corpus, Part
from timemachine.text.prepare import build_corpus, read_accepted

_NUM_PREDS = 200
_NUM_RUNS = 3


@dataclass(frozen=True)
class Figures:
    """Measured figures of a model.

    Attributes:
        val: bits per character on the validation part.
        test: bits per character on the test part; not used for the decision.
        num_bytes: size of the checkpoint's files.
        characters_per_s: median speed of greedy generation of one text.
    """

    val: float
    test: float
    num_bytes: int
    characters_per_s: float


@dataclass(frozen=True)
class Baseline:
    """Scores of the best n-gram model.

    Attributes:
        order: order of the Kneser–Ney model.
        val: bits per character on the validation part.
        test: bits per character on the test part; not used for the decision.
    """

    order: int
    val: float
    test: float


@dataclass(frozen=True)
class Verdict:
    """The decision.

    Attributes:
        promote: whether the challenger becomes champion.
        reasons: all reasons against the challenger, or the reason for it.
    """

    promote: bool
    reasons: Sequence[str]


def held_out_corpus(params: Params, data: Path) -> Corpus:
    """Return the corpus on which language models are compared, with all of its characters.

    It is built from the files that `preprocess` reads, but without `<unk>`: which characters are unknown depends
    on the vocabulary of a model, and the text must be the same for all models.

    Args:
        params: all parameters.
        data: the folder `data`.

    Raises:
        UserError: a text is absent or damaged.
    """
    p = params.preprocess
    recipe = p.corpora[params.compare_models.corpus]
    path = data / "raw/timemachine.txt"
    try:
        book = decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro`") from None
    return build_corpus(
        book,
        cleaning=recipe.cleaning,
        level=recipe.level,
        order="sorted",
        min_freq=0,
        reserved_tokens=[],
        fractions=(p.split.train, p.split.val, p.split.test),
        added=[*read_accepted(data / "accepted").values()],
    )


def held_out_sha256(corpus: Corpus) -> str:
    """Return the hash of the held-out text; scores on texts with other hashes are not comparable."""
    parts = ["".join(corpus.vocabulary.to_tokens(corpus.part(part).tolist())) for part in HELD_OUT]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def measure(folder: Path, corpus: Corpus, num_warmup: int, num_streams: int) -> Figures:
    """Measure the scores, the size and the speed of a checkpoint.

    A character that the model's vocabulary does not have costs the bits of `<unk>` plus the bits to choose one of
    all unknown characters. Otherwise models that know fewer characters would score better.

    Args:
        folder: the checkpoint.
        corpus: the corpus of `held_out_corpus`.
        num_warmup: number of tokens that a stream reads before the first one that is scored.
        num_streams: number of streams that a part is split into.

    Raises:
        UserError: a file of the checkpoint is absent, damaged or does not fit the others, or the model is a model
            of words.
    """
    model = LanguageModel.load(folder)
    if model.config.level != "char":
        raise UserError(f"{folder}: a model of words cannot be compared with models of characters")
    read = _in_vocabulary_of(model, corpus, num_warmup)
    readings = read_parts(model.module, read, read.split["train"], num_warmup, num_streams)
    unk = model.tokenizer.vocabulary.unk
    characters = set(corpus.vocabulary.tokens) - {corpus.vocabulary.tokens[corpus.vocabulary.unk]}
    num_unknown = sum(token not in model.tokenizer.vocabulary for token in characters)

    def bits(part: Part) -> float:
        guessed = int((read.part(part) == unk).sum())
        nats = float(readings[part].sum()) + (guessed * math.log(num_unknown) if guessed else 0.0)
        return nats / len(readings[part]) / math.log(2)

    return Figures(
        val=bits("val"),
        test=bits("test"),
        num_bytes=size_of(folder),
        characters_per_s=_characters_per_s(model, read.part("val")[:num_streams].tolist()),
    )


def size_of(folder: Path) -> int:
    """Return the size of a checkpoint's files in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kneser_ney_baseline(corpus: Corpus, max_order: int) -> Baseline:
    """Return the scores of the Kneser–Ney model whose order is best on the validation part."""
    models = KneserNey(corpus.part("train"), len(corpus.vocabulary), max_order)

    def bits(order: int, part: Part) -> float:
        begin, end = corpus.split[part]
        nats = -log_probabilities(models, corpus.tokens[:end], order, begin)
        return float(nats.sum()) / len(nats) / math.log(2)

    val, order = min((bits(order, "val"), order) for order in range(1, max_order + 1))
    return Baseline(order, val, bits(order, "test"))


def judge(
    challenger: Figures,
    champion: Figures | None,
    baseline: Baseline,
    limits: RetrainingParams,
    *,
    best_val: float | None = None,
    rolled_back: bool = False,
) -> Verdict:
    """Decide whether the challenger becomes champion.

    Args:
        challenger: as measured now.
        champion: as measured now; None if there is no champion.
        baseline: the scores that the challenger must beat.
        limits: limits in `params.yaml`.
        best_val: best bits per character on the validation part of all champions so far.
        rolled_back: whether the challenger was champion before and was rolled back.
    """
    bits = "bits per character on the validation part"
    figures = {
        f"the challenger's {bits}": challenger.val,
        "the challenger's bits per character on the test part": challenger.test,
        "the challenger's characters per second": challenger.characters_per_s,
        f"the baseline's {bits}": baseline.val,
    }
    if champion is not None:
        figures[f"the champion's {bits}"] = champion.val
    against = [
        f"{name}: {value} is not a finite number" for name, value in figures.items() if not math.isfinite(value)
    ]
    if rolled_back:
        against.append("this version was champion and has been rolled back")
    # Conditions that must hold, negated, so that NaN never passes.
    if champion is not None:
        reference = champion.val if best_val is None else min(champion.val, best_val)
        if not challenger.val <= reference + limits.margin:
            than = "the champion" if reference == champion.val else "the best champion so far"
            against.append(
                f"{challenger.val:.4f} {bits} exceed {than}'s {reference:.4f} + margin {limits.margin:g}"
            )
    if not challenger.val < baseline.val:
        against.append(
            f"{challenger.val:.4f} {bits} do not beat Kneser-Ney of order {baseline.order} with {baseline.val:.4f}"
        )
    if not challenger.num_bytes <= limits.max_bytes:
        against.append(f"its checkpoint has {challenger.num_bytes} bytes; at most {limits.max_bytes} are allowed")
    if not challenger.characters_per_s >= limits.min_characters_per_s:
        against.append(
            f"it generates {challenger.characters_per_s:.0f} characters per second; at least "
            f"{limits.min_characters_per_s:g} are required"
        )
    if against:
        return Verdict(False, against)
    rival = "there is no champion yet" if champion is None else f"the champion has {champion.val:.4f}"
    rivals = f"{rival}, Kneser-Ney of order {baseline.order} {baseline.val:.4f}"
    return Verdict(True, [f"{challenger.val:.4f} {bits}; {rivals}"])


def _in_vocabulary_of(model: LanguageModel, corpus: Corpus, num_warmup: int) -> Corpus:
    """Return the held-out text and the warm-up text before it, in the tokens of a model."""
    vocabulary = model.tokenizer.vocabulary
    first = corpus.split["val"][0]
    begin = max(first - max(num_warmup, 1), 0)
    tokens = np.array(vocabulary[corpus.vocabulary.tokens], dtype=np.uint32)[corpus.tokens[begin:]]
    split: dict[Part, tuple[int, int]] = {"train": (0, first - begin)}
    split |= {part: (corpus.split[part][0] - begin, corpus.split[part][1] - begin) for part in HELD_OUT}
    return Corpus(tokens, vocabulary, "char", 0.0, split)


@torch.inference_mode()
def _characters_per_s(model: LanguageModel, prefix: Sequence[int]) -> float:
    continue_sequences(model.module, [prefix], 10)  # the first call is slower
    once = partial(continue_sequences, model.module, [prefix], _NUM_PREDS)
    return _NUM_PREDS / statistics.median(timeit.repeat(once, number=1, repeat=_NUM_RUNS))
