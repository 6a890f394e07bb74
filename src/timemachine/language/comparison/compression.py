"""Bits per character of general compressors, for comparison with language models."""

import bz2
import lzma
from collections.abc import Callable

from timemachine.text.corpus import HELD_OUT, Corpus

# Length of PPMd's contexts in characters, and its memory, which is more than a book needs.
_PPMD_ORDER, _PPMD_MEMORY_BYTES = 6, 64 * 2**20


def _ppmd(content: bytes) -> bytes:
    import pyppmd

    return pyppmd.compress(content, max_order=_PPMD_ORDER, mem_size=_PPMD_MEMORY_BYTES, variant="I")


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": lambda content: bz2.compress(content, 9),
    "xz": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
    "ppmd": _ppmd,
}


def compressed_bits_per_character(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Return the bits per character that each compressor needs for the held-out parts of a corpus of characters.

    A part costs the bits by which a compressed file grows when the part is appended to all the text before it.
    Compressors learn from all the text that they have read, so they are comparable with adaptive models. The
    text is encoded in UTF-8, in which a letter of the corpora is one byte.

    Returns:
        By compressor, then by part.
    """
    text = corpus.tokenizer.decode(corpus.tokens.tolist())

    def grown_by(compress: Callable[[bytes], bytes], begin: int, end: int) -> float:
        growth = len(compress(text[:end].encode())) - len(compress(text[:begin].encode()))
        return 8 * growth / (end - begin)

    return {
        name: {part: grown_by(compress, *corpus.split[part]) for part in HELD_OUT}
        for name, compress in COMPRESSORS.items()
    }
