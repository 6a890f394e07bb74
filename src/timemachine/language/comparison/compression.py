"""What general compressors need for a text, in the language models' unit."""

import bz2
import lzma
from collections.abc import Callable

# The order of PPMd's contexts, in characters, and its memory: more than any book fills.
_PPMD_ORDER, _PPMD_MEMORY_BYTES = 6, 64 * 2**20


def _ppmd(content: bytes) -> bytes:
    import pyppmd

    return pyppmd.compress(content, max_order=_PPMD_ORDER, mem_size=_PPMD_MEMORY_BYTES, variant="I")


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": lambda content: bz2.compress(content, 9),
    "xz": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
    "ppmd": _ppmd,
}


def compressed_bits_per_character(compressor: str, before: str, text: str) -> float:
    """Return by how many bits per character a compressed text grows when `text` is put behind `before`.

    Compressors learn from all that they have read, so these figures are those of adaptive models.

    Args:
        compressor: a key of `COMPRESSORS`.
        before: what comes first.
        text: at least one character; counts in UTF-8, where a letter of the corpora is a byte.
    """
    compress = COMPRESSORS[compressor]
    growth = len(compress((before + text).encode())) - len(compress(before.encode()))
    return 8 * growth / len(text)
