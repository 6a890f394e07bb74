"""Seconds and memory of counting trigrams, compared with `collections.Counter`, and of Kneser–Ney models.

Trigrams are counted on two long texts. The first repeats the book with its lines shuffled: most trigrams occur
often. The second shuffles the words: most trigrams occur once. Both sides count the same text in turn, each in its
own process. Medians over the rounds are printed; memory is the peak of a process minus its size before counting.

Kneser–Ney models of characters, of all orders up to `--order`, are fitted by one thread, on a file (`--text FILE`)
or on as many characters of the shuffled lines as there are `--tokens`.

Run: python benchmarks/ngrams.py [--tokens N] [--rounds N] [--text FILE] [--order N]
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas  # noqa: F401  counting imports it on its first call, which is not measured
from numpy.typing import NDArray

from timemachine.language.ngrams.counts import count_ngrams
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.text.preparation.clean import clean_whole
from timemachine.text.tokens.vocabulary import Vocabulary

Tokens = NDArray[np.unsignedinteger]


def shuffled_lines(lines: list[Tokens], num_tokens: int) -> Tokens:
    """Return the lines, repeated in random orders, up to a number of tokens."""
    generator = np.random.default_rng(0)
    num_repeats = -(-num_tokens // sum(map(len, lines)))
    return np.concatenate([lines[i] for _ in range(num_repeats) for i in generator.permutation(len(lines))])[
        :num_tokens
    ]


def measure(count: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of a call in its own process, and the growth of that process in MB."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: sender.send(_measured(count)))
    process.start()
    result: tuple[float, float] = receiver.recv()
    process.join()
    return result


def _measured(count: Callable[[], object]) -> tuple[float, float]:
    before_kb = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
    begin = time.perf_counter()
    result = count()
    seconds = time.perf_counter() - begin
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del result
    return seconds, (peak_kb - before_kb) / 1024


def measure_kneser_ney(characters: str, order: int, num_rounds: int) -> None:
    """Print the seconds and the memory of fitting the models of all orders to cleaned text."""
    codes = np.frombuffer(characters.encode("ascii"), dtype=np.uint8)
    used = np.flatnonzero(np.bincount(codes))
    tokens = np.searchsorted(used, codes).astype(np.uint8)
    KneserNey(tokens[:1000], len(used), order)  # compiles, which is not measured
    rounds = [measure(lambda: KneserNey(tokens, len(used), order)) for _ in range(num_rounds)]
    seconds, mb = (statistics.median(r[what] for r in rounds) for what in (0, 1))
    print(f"{len(tokens):,} characters, Kneser–Ney to order {order}: {seconds:.1f} s, {mb:,.0f} MB")


def main() -> None:
    """Print a line for each text: both times, their ratio, and both sizes; and a line for Kneser–Ney."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--order", type=int, default=6)
    options = parser.parse_args()
    book = Path("data/raw/timemachine/timemachine.txt").read_text()
    lines = [clean_whole(line).split() for line in book.splitlines()]
    vocabulary = Vocabulary.build([word for line in lines for word in line])
    tokens = shuffled_lines([np.array(vocabulary[line], dtype=np.uint16) for line in lines], options.tokens)
    for name, text in (("lines", tokens), ("words", np.random.default_rng(0).permutation(tokens))):
        words = vocabulary.to_tokens(text.tolist())
        rounds = [
            (
                measure(lambda w=words: Counter(zip(w, w[1:], w[2:], strict=False))),  # type: ignore[misc]
                measure(lambda t=text: count_ngrams(t, 3, len(vocabulary))),  # type: ignore[misc]
            )
            for _ in range(options.rounds)
        ]
        (plain_s, plain_mb), (our_s, our_mb) = (
            [statistics.median(r[side][what] for r in rounds) for what in (0, 1)] for side in (0, 1)
        )
        print(
            f"{len(text):,} words, {name} shuffled: Counter {plain_s:.2f} s, {plain_mb:,.0f} MB; "
            f"ours {our_s:.2f} s, {our_mb:,.0f} MB; ratio {plain_s / our_s:.1f} (medians of {options.rounds})"
        )
    if options.text:
        characters = clean_whole(options.text.read_text())
    else:
        characters = " ".join(vocabulary.to_tokens(tokens.tolist()))[: options.tokens]
    measure_kneser_ney(characters, options.order, options.rounds)


if __name__ == "__main__":
    main()
