"""The gate: champion and challenger scored afresh, side by side, and the decision.

Both read the same text, the book's own validation and test part, by the same code, each in its own vocabulary.
The decision is taken on the validation part alone. The test part is scored and reported, and asked for nothing
but that its score be a number: a part that had a say in which model is served would be no test of it.

With a margin above 0 every round could be a little worse than the one before, and many rounds much worse. So a
challenger is held against the better of two: the champion as it scores now, and the best score on this text of
all champions that led up to it, which a champion carries with it. However many rounds, none is worse than the
best by more than one margin.
"""

import hashlib
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from timemachine.base.errors import UserError
from timemachine.language.generation.decoding import continue_sequences
from timemachine.language.models.trained import LanguageModel
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.scoring.reading import read_parts
from timemachine.language.scoring.score import Score
from timemachine.pipeline.params import Params, RetrainingParams
from timemachine.text.clean import decode
from timemachine.text.corpus import HELD_OUT, Corpus, Part
from timemachine.text.prepare import build_corpus, read_accepted

_NUM_PREDS = 200
_NUM_RUNS = 3


@dataclass(frozen=True)
class Figures:
    """What a model was found to be.

    Attributes:
        val: bits per character on the validation part.
        test: on the test part; decides nothing.
        num_bytes: size of its checkpoint's files.
        characters_per_s: median speed of writing one text greedily.
    """

    val: float
    test: float
    num_bytes: int
    characters_per_s: float


@dataclass(frozen=True)
class Baseline:
    """The smoothed n-gram model that is best on the validation part.

    Attributes:
        order: of the Kneser–Ney model.
        val: bits per character on the validation part.
        test: on the test part; decides nothing.
    """

    order: int
    val: float
    test: float


@dataclass(frozen=True)
class Verdict:
    """The decision.

    Attributes:
        promote: whether the challenger becomes champion.
        reasons: all that speaks against it, or what speaks for it.
    """

    promote: bool
    reasons: Sequence[str]


def held_out_corpus(params: Params, data: Path) -> Corpus:
    """Return the text on which language models are compared, in all its characters, and what is trained on.

    It is made of the files that `preprocess` reads, but nothing in it is `<unk>`: what a vocabulary leaves out
    is a property of a model, and the text is the same for all.

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
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None
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
    """Return the hash of the held-out text: scores on another are not to be compared."""
    parts = ["".join(corpus.vocabulary.to_tokens(corpus.part(part).tolist())) for part in HELD_OUT]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def measure(folder: Path, corpus: Corpus, num_warmup: int, num_streams: int) -> Figures:
    """Score a checkpoint, and see how large and how fast it is.

    A character that the model's vocabulary does not have costs what the model gives `<unk>`, and the choice
    among all that are `<unk>` to it: else a model would be the better the fewer characters it knew.

    Args:
        folder: the checkpoint.
        corpus: the text, as `held_out_corpus` returns it.
        num_warmup: tokens that a stream reads before the first one it scores.
        num_streams: into how many streams a part is cut.

    Raises:
        UserError: a file of the checkpoint is absent, damaged or does not fit the others, or it is a model of
            words.
    """
    model = LanguageModel.load(folder)
    if model.config.level != "char":
        raise UserError(f"{folder}: a model of words cannot be compared with models of characters")
    read = _in_vocabulary_of(model, corpus, num_warmup)
    readings = read_parts(model.module, read, read.split["train"], num_warmup, num_streams)
    unk = model.tokenizer.vocabulary.unk
    num_unknown = sum(token not in model.tokenizer.vocabulary for token in _characters(corpus))

    def bits(part: Part) -> float:
        guessed = int((read.part(part) == unk).sum())
        nats = float(readings[part].nats.sum()) + (guessed * math.log(num_unknown) if guessed else 0.0)
        return Score(nats, len(readings[part].nats), len(readings[part].nats)).bits_per_character

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
    """Return the Kneser–Ney model, counted on the train part, of the order that is best on the validation part."""
    models = KneserNey(corpus.part("train"), len(corpus.vocabulary), max_order)

    def bits(order: int, part: Part) -> float:
        begin, end = corpus.split[part]
        nats = -models.log_probabilities(corpus.tokens[:end], order, begin)
        return Score(float(nats.sum()), len(nats), len(nats)).bits_per_character

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
        champion: as measured now; None in a first round.
        baseline: what a challenger must beat.
        limits: of `params.yaml`.
        best_val: bits per character on the validation part of the best of the champions up to now.
        rolled_back: whether the challenger was champion once, and somebody put it back.
    """
    figures = {
        "the challenger's bits per character on the validation part": challenger.val,
        "the challenger's bits per character on the test part": challenger.test,
        "the challenger's characters per second": challenger.characters_per_s,
        "the baseline's bits per character on the validation part": baseline.val,
    }
    if champion is not None:
        figures["the champion's bits per character on the validation part"] = champion.val
    against = [f"{name}: {value} is no figure" for name, value in figures.items() if not math.isfinite(value)]
    if rolled_back:
        against.append("this version was champion and has been rolled back")
    # Written as what must hold, so that a NaN, of which nothing holds, never passes.
    if champion is not None:
        reference = champion.val if best_val is None else min(champion.val, best_val)
        if not challenger.val <= reference + limits.margin:
            than = "the champion" if reference == champion.val else "the best champion so far"
            against.append(
                f"{challenger.val:.4f} bits per character on the validation part are more than {than}'s "
                f"{reference:.4f} + margin {limits.margin:g}"
            )
    if not challenger.val < baseline.val:
        against.append(
            f"{challenger.val:.4f} bits per character on the validation part do not beat Kneser-Ney of order "
            f"{baseline.order} with {baseline.val:.4f}"
        )
    if not challenger.num_bytes <= limits.max_bytes:
        against.append(f"its checkpoint has {challenger.num_bytes} bytes; at most {limits.max_bytes} are allowed")
    if not challenger.characters_per_s >= limits.min_characters_per_s:
        against.append(
            f"it writes {challenger.characters_per_s:.0f} characters per second; at least "
            f"{limits.min_characters_per_s:g} are wanted"
        )
    if against:
        return Verdict(False, against)
    rival = "there is no champion yet" if champion is None else f"the champion has {champion.val:.4f}"
    return Verdict(
        True,
        [
            f"{challenger.val:.4f} bits per character on the validation part; {rival}, Kneser-Ney of order "
            f"{baseline.order} {baseline.val:.4f}"
        ],
    )


def _characters(corpus: Corpus) -> list[str]:
    """Return the characters that occur in a corpus made by `held_out_corpus`."""
    return [token for index, token in enumerate(corpus.vocabulary.tokens) if index != corpus.vocabulary.unk]


def _in_vocabulary_of(model: LanguageModel, corpus: Corpus, num_warmup: int) -> Corpus:
    """Return the held-out text, and before it what its first warm-up reads, in a model's own tokens."""
    vocabulary = model.tokenizer.vocabulary
    first = corpus.split["val"][0]
    begin = max(first - max(num_warmup, 1), 0)
    tokens = np.array(vocabulary[corpus.vocabulary.tokens], dtype=np.uint32)[corpus.tokens[begin:]]
    split: dict[Part, tuple[int, int]] = {"train": (0, first - begin)}
    split |= {part: (corpus.split[part][0] - begin, corpus.split[part][1] - begin) for part in HELD_OUT}
    return Corpus(tokens, vocabulary, "char", 0.0, split)


@torch.inference_mode()
def _characters_per_s(model: LanguageModel, prefix: Sequence[int]) -> float:
    continue_sequences(model.module, [prefix], 10)  # whatever is slow only once

    def once() -> float:
        begin_s = time.perf_counter()
        continue_sequences(model.module, [prefix], _NUM_PREDS)
        return _NUM_PREDS / (time.perf_counter() - begin_s)

    return statistics.median(once() for _ in range(_NUM_RUNS))
