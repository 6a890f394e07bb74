"""Bits per character of general compressors, for comparison with language models."""

import bz2
import lzma
from collections.abc import Callable, Mapping
from functools import partial

import pyppmd

from timemachine.text.tokens.corpus import HELD_OUT, Corpus

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": bz2.compress,
    "xz": partial(lzma.compress, preset=9 | lzma.PRESET_EXTREME),
    # Contexts of 6 characters; the memory is more than a book needs.
    "ppmd": partial(pyppmd.compress, max_order=6, mem_size=64 * 2**20, variant="I"),
}


def compressed_bits_per_character(
    corpus: Corpus, compressors: Mapping[str, Callable[[bytes], bytes]] = COMPRESSORS
) -> dict[str, dict[str, float]]:
    """Return the bits per character that each compressor needs for the held-out parts of a corpus of characters.

    A part costs the bits by which a compressed file grows when the part is appended to all the text before it.
    Compressors learn from all the text that they have read, so they are comparable with adaptive models. The
    text is encoded in UTF-8, in which a letter of the corpora is one byte.

    Args:
        corpus: of characters.
        compressors: functions from the text to the compressed file, by name.

    Returns:
        By compressor, then by part.
    """
    text = corpus.tokenizer.decode(corpus.tokens.tolist())

    def grown_by(compress: Callable[[bytes], bytes], begin: int, end: int) -> float:
        growth = len(compress(text[:end].encode())) - len(compress(text[:begin].encode()))
        return 8 * growth / (end - begin)

    return {
        name: {part: grown_by(compress, *corpus.split[part]) for part in HELD_OUT}
        for name, compress in compressors.items()
    }
