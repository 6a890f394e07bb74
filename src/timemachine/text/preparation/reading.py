"""Read a file as a text, or say what it is instead and how to make a text of it."""

import codecs
import mmap
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from timemachine.base.errors import UserError, about
from timemachine.text.preparation.config import Licence
from timemachine.text.preparation.licence import without_licence

_BLOCK_BYTES = 1 << 20
_BOM = "\ufeff"
# The first bytes of files that are no plain text. An EPUB is a zip file.
_FORMATS = {
    b"%PDF-": "a PDF file",
    b"PK\x03\x04": "a zip file (EPUB and Word files are zip files, too)",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"7z\xbc\xaf": "a 7z file",
    b"Rar!": "a RAR file",
    b"{\\rtf": "an RTF file",
    b"\xd0\xcf\x11\xe0": "an old Word file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
}
# All control characters of ASCII but white space and the signs for an end of file and for an escape sequence.
_CONTROL = bytes([*range(9), *range(14, 26), 28, 29, 30, 31])
_HTML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+x?html|x?html)\b", re.I | re.S)
_TAG = re.compile(
    rb"</?(?:p|div|span|br|hr|a|img|table|tr|td|th|h[1-6]|ul|ol|li|head|body|title|meta|link|script|style|pre|font)"
    rb"(?:\s[^<>]*)?/?>",
    re.I,
)
# A page has a tag of a paragraph or of a line in so many bytes; a text that quotes a little HTML does not.
_BYTES_PER_TAG, _MIN_TAGS = 600, 10
# Each byte from 0x80 to 0xBF, read as Latin-1 or as Windows-1252 and written as UTF-8.
_READ_WRONGLY = (
    b"(?:"
    + b"|".join(
        sorted(
            {chr(i).encode() for i in range(0x80, 0xC0)}
            | {bytes([i]).decode("cp1252", "ignore").encode() for i in range(0x80, 0xC0)} - {b""}
        )
    )
    + b")"
)
# Ã© and ’ as â€™: only the first bytes of the scripts that people write in, so that É» in French is none.
_MOJIBAKE = re.compile(b"\xc3[\x82-\x85\x8e-\x91]" + _READ_WRONGLY + b"|\xc3[\xa2\xaf]" + _READ_WRONGLY * 2)
_MIN_MOJIBAKE, _MIN_MOJIBAKE_SHARE = 2, 0.5


def read_piece(path: Path, encoding: str = "utf-8", licence: Licence = "none") -> memoryview:
    """Return a text file as UTF-8 without a byte order mark.

    The result is a view of the mapped file if nothing is converted, so the file must not be truncated while it is
    used.

    Args:
        path: a regular file.
        encoding: encoding of the file, a name that Python knows.
        licence: what is cut off, see `timemachine.text.preparation.licence`.

    Returns:
        (num_bytes,) the text.

    Raises:
        UserError: the file is no text in this encoding, or the licence cannot be cut off; the message starts with
            the path.
        OSError: the file cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{path}: not a regular file")  # reading a pipe may block forever
    with path.open("rb") as file:
        # An empty file cannot be mapped.
        empty = not file.read(1)
        content = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return as_text(content, path, encoding, licence)


def as_text(
    content: bytes | mmap.mmap, path: Path, encoding: str = "utf-8", licence: Licence = "none"
) -> memoryview:
    """Return the content of a file as UTF-8 without a byte order mark; see `read_piece`.

    Args:
        content: the bytes of the file.
        path: the file, for messages.
        encoding: encoding of the content.
        licence: what is cut off.
    """
    with about(str(path)):
        if not content:
            raise UserError("the text is empty")
        for magic, what in _FORMATS.items():
            if content[: len(magic)] == magic:
                raise UserError(f"this is {what}; plain text is needed")
        text = memoryview(content)
        if _known(encoding) == "utf-8":
            _check_not_wide(text, path)
            _check_utf8(text, path)
        else:
            text = _converted(text, encoding)
        if text[:3] == _BOM.encode():
            text = text[3:]
        _check_plain(text, path)
        return without_licence(text) if licence == "gutenberg" else text


def _known(encoding: str) -> str:
    """Return Python's own name of an encoding.

    Raises:
        UserError: Python does not know this encoding of texts.
    """
    try:
        b"a".decode(encoding, "ignore")
        return codecs.lookup(encoding).name
    except LookupError:
        raise UserError(
            f"unknown encoding {encoding!r}; write for example utf-8, windows-1252 or utf-16"
        ) from None


def _check_not_wide(text: memoryview, path: Path) -> None:
    """Check that the text is neither UTF-16 nor UTF-32, with or without a byte order mark, nor binary."""
    head = bytes(text[: 1 << 16])
    # UTF-32 is first because its mark begins with that of UTF-16.
    for name, bom in (
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ):
        if head.startswith(bom):
            raise UserError(f"not UTF-8 but {name[:6].upper()}; {_conversion(name[:6], path)}")
        # All bytes of a Latin letter but one are null: the first one in `le`, the last one in `be`.
        width = len(bom)
        columns = [head[i::width] for i in range(width)][:: 1 if name.endswith("le") else -1]
        if [2 * column.count(0) > len(column) for column in columns] == [False] + [True] * (width - 1):
            raise UserError(f"not UTF-8 but {name.upper()}; {_conversion(name, path)}")
    control = 1 - len(head.translate(None, _CONTROL)) / len(head)
    if control > 0.01:
        raise UserError(
            f"this is binary data: {control:.1%} of its first {len(head)} bytes are control characters"
        )


def _check_utf8(text: memoryview, path: Path) -> None:
    try:
        for _ in _decoded(text, "utf-8"):
            pass
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 at byte {error.start}{_single_byte(text, error.start, path)}") from None


def _single_byte(text: memoryview, at: int, path: Path) -> str:
    """Return what to do about a byte that is not UTF-8."""
    before, after = bytes(text[max(at - _BLOCK_BYTES, 0) : at]), bytes(text[at : at + _BLOCK_BYTES])
    # With some of what stands before it, because it may be the last byte.
    high = np.frombuffer(before[-100:] + after, np.uint8) >= 0x80
    if not before.isascii():
        return (
            "; before it the text is UTF-8, so the file is damaged there, or was put together from two encodings"
        )
    if high.mean() > 0.3 or re.search(rb"[\x81\x8d\x8f\x90\x9d]", after):
        return "; convert it with `iconv -f ENCODING -t UTF-8` from the encoding that it has"
    return f"; it looks like Windows-1252 (or Latin-1); {_conversion('windows-1252', path)}"


def _conversion(encoding: str, path: Path) -> str:
    # iconv writes UTF-16LE for Python's utf-16-le.
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    return (
        f"convert it with `{_iconv(name, 'UTF-8', path)}`, or write `encoding: {encoding}` in its entry of `texts`"
    )


def _iconv(source: str, target: str, path: Path) -> str:
    # A name may have a line break, and the message is one line.
    shown = path.name if path.name.isprintable() else "FILE"
    name, converted = (shlex.quote(part + shown) for part in ("", "converted_"))
    return f"iconv -f {source} -t {target} {name} > {converted}"


def _converted(text: memoryview, encoding: str) -> memoryview:
    try:
        # A byte array, because a list of blocks and their concatenation need twice the memory.
        converted = bytearray()
        for block in _decoded(text, encoding):
            converted += block.encode()
    except UnicodeDecodeError as error:
        raise UserError(f"not {encoding} at byte {error.start}: {error.reason}") from None
    return memoryview(converted)


def _check_plain(text: memoryview, path: Path) -> None:
    """Check that the text has letters, and is neither HTML nor mojibake, by samples of large texts."""
    if not re.search(b"[A-Za-z]", text):
        raise UserError("the text has no letter A-Z")
    middle = len(text) // 2
    samples = (text[:_BLOCK_BYTES], text[middle : middle + _BLOCK_BYTES], text[-_BLOCK_BYTES:])
    sample = b"\n".join(samples) if len(text) > 3 * _BLOCK_BYTES else bytes(text)
    num_tags = len(_TAG.findall(sample))
    if _HTML.match(sample) or num_tags >= max(_MIN_TAGS, len(sample) / _BYTES_PER_TAG):
        raise UserError("this is HTML; the plain-text version is needed")
    if sample.isascii():
        return
    wrong = _MOJIBAKE.findall(sample)
    num_wrong = sum(len(found.decode(errors="ignore")) for found in wrong)
    # Every character outside ASCII begins with one byte from 0xC0 on.
    num_outside = int((np.frombuffer(sample, np.uint8) >= 0xC0).sum())
    if len(wrong) >= _MIN_MOJIBAKE and num_wrong >= _MIN_MOJIBAKE_SHARE * num_outside:
        raise UserError(
            f"its characters outside ASCII are garbled, for example {wrong[0].decode(errors='ignore')!r}: it is "
            f"UTF-8 that was read as another encoding and saved again; {_repair(text, path)}"
        )


def _repair(text: memoryview, path: Path) -> str:
    """Return what to do about UTF-8 that was read as another encoding."""
    for encoding, name in (("cp1252", "WINDOWS-1252"), ("latin-1", "ISO-8859-1")):
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for block in _decoded(text, "utf-8"):
                decoder.decode(block.encode(encoding))
        except UnicodeError:
            continue
        return f"repair it with `{_iconv('UTF-8', name, path)}`, or get the text again"
    return "get the text again, as UTF-8"


def _decoded(text: memoryview, encoding: str) -> Iterator[str]:
    """Yield the text in blocks.

    Raises:
        UnicodeDecodeError: its `start` is a position in the whole text.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    for begin in range(0, len(text), _BLOCK_BYTES):
        num_pending = len(decoder.getstate()[0])
        try:
            yield decoder.decode(text[begin : begin + _BLOCK_BYTES], begin + _BLOCK_BYTES >= len(text))
        except UnicodeDecodeError as error:
            error.start += begin - num_pending
            raise
