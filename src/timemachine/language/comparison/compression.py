"""Bits per character of general compressors, for comparison with language models."""

import bz2
import lzma
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pyppmd

from timemachine.text.tokens.corpus import HELD_OUT, Corpus

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": bz2.compress,
    "xz": partial(lzma.compress, preset=9 | lzma.PRESET_EXTREME),
    # Contexts of 6 characters; the memory is more than a book needs.
    "ppmd": partial(pyppmd.compress, max_order=6, mem_size=64 * 2**20, variant="I"),
}


def compressed_bits_per_character(
    corpus: Corpus, max_tokens: int, compressors: Mapping[str, Callable[[bytes], bytes]] = COMPRESSORS
) -> dict[str, dict[str, float]]:
    """Return the bits per character that each compressor needs for the held-out parts of a corpus of characters.

    A part costs the bits by which a compressed file grows when the part is appended to the text before it.
    Compressors learn from all the text that they have read, so they are comparable with adaptive models. The
    text is encoded in UTF-8, in which a letter of the corpora is one byte.

    Args:
        corpus: of characters.
        max_tokens: number of the last tokens of the train part that the text begins with.
        compressors: functions from the text to the compressed file, by name.

    Returns:
        By compressor, then by part.
    """
    first = max(corpus.split["val"][0] - max_tokens, 0)
    text = corpus.tokenizer.decode(corpus.tokens[first:].tolist())
    cuts = [end - first for _, end in corpus.split.values()]

    def rates(compress: Callable[[bytes], bytes]) -> dict[str, float]:
        grown = np.diff([len(compress(text[:cut].encode())) for cut in cuts])  # bytes
        return dict(zip(HELD_OUT, (8 * grown / np.diff(cuts)).tolist(), strict=True))

    return {name: rates(compress) for name, compress in compressors.items()}
