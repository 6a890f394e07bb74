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
from collections.abc import Mapping, Sequence
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
from timemachine.text.preparation.prepare import accepted_pieces, build_corpus, text_pieces
from timemachine.text.tokens.corpus import HELD_OUT, Corpus, Part

_NUM_PREDS = 200
_NUM_RUNS = 3


# Measured figures, by their names in the report.
Figures = Mapping[str, float]
VAL, TEST = "val_bits_per_character", "test_bits_per_character"


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
    return build_corpus(
        [piece for name in recipe.texts for piece in text_pieces(data / "raw", name, params.texts[name])],
        cleaning=recipe.cleaning,
        level=recipe.level,
        order="sorted",
        min_freq=0,
        reserved_tokens=[],
        fractions=(p.split.train, p.split.val, p.split.test),
        max_held_out=p.split.max_held_out,
        added=accepted_pieces(data / "accepted"),
    )


def held_out_sha256(corpus: Corpus) -> str:
    """Return the hash of the held-out text; scores on texts with other hashes are not comparable."""
    tokens = corpus.vocabulary.tokens
    parts = ["".join(tokens[index] for index in corpus.part(part).tolist()) for part in HELD_OUT]
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

    Returns:
        Bits per character on the validation part (`VAL`) and the test part (`TEST`), `num_bytes`, the size of the
        checkpoint's files, and `characters_per_s`, the median speed of greedy generation of one text.

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

    speed = _characters_per_s(model, read.part("val")[:num_streams].tolist())
    return {VAL: bits("val"), TEST: bits("test"), "num_bytes": size_of(folder), "characters_per_s": speed}


def size_of(folder: Path) -> int:
    """Return the size of a checkpoint's files in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kneser_ney_baseline(corpus: Corpus, max_order: int) -> Figures:
    """Return `order`, `VAL` and `TEST` of the Kneser–Ney model whose order is best on the validation part."""
    models = KneserNey(corpus.part("train"), len(corpus.vocabulary), max_order)

    def bits(order: int, part: Part) -> float:
        begin, end = corpus.split[part]
        nats = -log_probabilities(models, corpus.tokens[:end], order, begin)
        return float(nats.sum()) / len(nats) / math.log(2)

    val, order = min((bits(order, "val"), order) for order in range(1, max_order + 1))
    return {"order": order, VAL: val, TEST: bits(order, "test")}


def judge(
    challenger: Figures,
    champion: Figures | None,
    baseline: Figures,
    limits: RetrainingParams,
    *,
    best_val: float | None = None,
    rolled_back: bool = False,
) -> tuple[bool, list[str]]:
    """Decide whether the challenger becomes champion.

    Args:
        challenger: return value of `measure`.
        champion: return value of `measure`; None if there is no champion.
        baseline: return value of `kneser_ney_baseline`, which the challenger must beat.
        limits: limits in `params.yaml`.
        best_val: best bits per character on the validation part of all champions so far.
        rolled_back: whether the challenger was champion before and was rolled back.

    Returns:
        Whether it does, and all reasons against it, or the reason for it.
    """
    bits = "bits per character on the validation part"
    val, num_bytes, speed = (challenger[name] for name in (VAL, "num_bytes", "characters_per_s"))
    rival = f"Kneser-Ney of order {baseline['order']}"
    figures = {
        f"the challenger's {bits}": val,
        "the challenger's bits per character on the test part": challenger[TEST],
        "the challenger's characters per second": speed,
        f"the baseline's {bits}": baseline[VAL],
    }
    if champion is not None:
        figures[f"the champion's {bits}"] = champion[VAL]
    # Conditions that must hold, so that NaN never passes, by the reason if they do not.
    required = {f"{name}: {value} is not a finite number": math.isfinite(value) for name, value in figures.items()}
    required["this version was champion and has been rolled back"] = not rolled_back
    if champion is not None:
        reference = champion[VAL] if best_val is None else min(champion[VAL], best_val)
        than = "the champion" if reference == champion[VAL] else "the best champion so far"
        exceeds = f"{val:.4f} {bits} exceed {than}'s {reference:.4f} + margin {limits.margin:g}"
        required[exceeds] = val <= reference + limits.margin
    least, most = f"{limits.min_characters_per_s:g} are required", f"{limits.max_bytes} are allowed"
    required |= {
        f"{val:.4f} {bits} do not beat {rival} with {baseline[VAL]:.4f}": val < baseline[VAL],
        f"its checkpoint has {num_bytes} bytes; at most {most}": num_bytes <= limits.max_bytes,
        f"it generates {speed:.0f} characters per second; at least {least}": speed >= limits.min_characters_per_s,
    }
    if against := [reason for reason, holds in required.items() if not holds]:
        return False, against
    other = "there is no champion yet" if champion is None else f"the champion has {champion[VAL]:.4f}"
    return True, [f"{val:.4f} {bits}; {other}, {rival} {baseline[VAL]:.4f}"]


def _in_vocabulary_of(model: LanguageModel, corpus: Corpus, num_warmup: int) -> Corpus:
    """Return the held-out text and the warm-up text before it, in the tokens of a model."""
    vocabulary = model.tokenizer.vocabulary
    first = corpus.split["val"][0]
    begin = max(first - max(num_warmup, 2), 0)  # the first token of a text is not scored, and no part may be empty
    tokens = np.array(vocabulary[corpus.vocabulary.tokens], dtype=np.uint32)[corpus.tokens[begin:]]
    split: dict[Part, tuple[int, int]] = {"train": (0, first - begin)}
    split |= {part: (corpus.split[part][0] - begin, corpus.split[part][1] - begin) for part in HELD_OUT}
    return Corpus(tokens, vocabulary, "char", 0.0, split)


@torch.inference_mode()
def _characters_per_s(model: LanguageModel, prefix: Sequence[int]) -> float:
    continue_sequences(model.module, [prefix], 10)  # the first call is slower
    once = partial(continue_sequences, model.module, [prefix], _NUM_PREDS)
    return _NUM_PREDS / statistics.median(timeit.repeat(once, number=1, repeat=_NUM_RUNS))
