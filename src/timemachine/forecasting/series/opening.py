"""Open a file as people have it: plain or compressed, in UTF-8, UTF-16 or Windows-1252."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from timemachine.base.errors import UserError

_MOST_BYTES = 500_000_000
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What is no text, or no table, by its first bytes.
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
    b"<": "HTML or XML; a CSV file is needed",
    b"{": "JSON; a CSV file is needed",
    b"[": "JSON; a CSV file is needed",
}


def read_text(path: str | Path) -> str:
    """Return the text of a file.

    What is compressed with gzip, bz2, xz or zip (one member) is known by its content, not by its name. The text is
    UTF-8 or UTF-16 by its byte order mark, else UTF-8; other bytes are Windows-1252.

    Raises:
        UserError: the path is a URL or a folder; the file does not exist, cannot be read, is empty, damaged,
            larger than 500 MB, or not text.
    """
    if _URL.match(str(path)) and not Path(path).exists():
        raise UserError("URLs are not read; download the file and give its path")
    content = _unpacked(_content(Path(path)))
    for start, what in _OTHERS.items():
        if content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start):
            raise UserError(f"this is {what}")
    return _decoded(content)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError("no such file") from None
    except IsADirectoryError:
        raise UserError("this is a folder; give the path of a CSV file") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    return _bounded(content)


def _bounded(content: bytes) -> bytes:
    if len(content) > _MOST_BYTES:
        raise UserError(f"larger than {_MOST_BYTES // 1_000_000} MB; keep only the columns and rows you need")
    return content


def _only_member(file: IO[bytes]) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
    names = [info.filename for info in members]
    if "[Content_Types].xml" in names:
        raise UserError("this is an Excel workbook or another Office file; save it as CSV")
    if len(members) != 1:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise UserError(f"a zip file with {len(names)} members ({shown}) instead of one; unpack the one you need")
    if members[0].flag_bits & 1:
        raise UserError("the zip file is encrypted; unpack it")
    return archive.open(members[0])


_OPENERS: dict[bytes, tuple[str, Callable[[IO[bytes]], IO[bytes] | gzip.GzipFile]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bz2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
    b"PK\x03\x04": ("zip", _only_member),
}


def _unpacked(content: bytes) -> bytes:
    """Return what a compressed file holds, and other bytes as they are."""
    kind, opener = next((found for start, found in _OPENERS.items() if content.startswith(start)), ("", None))
    if opener is None:
        return content
    try:
        with opener(io.BytesIO(content)) as file:
            return _bounded(file.read(_MOST_BYTES + 1))
    except EOFError:
        raise UserError(f"the {kind} file is cut: its data end early; get the file again") from None
    except UserError:
        raise
    # ValueError: offsets and names in a damaged zip file.
    except (OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"the {kind} file is damaged ({error}); get the file again") from None


def _decoded(content: bytes) -> str:
    encoding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), None)
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise UserError(f"this is not text in {encoding.upper()}: {error.reason}") from None
        text = content.decode("cp1252", errors="replace")
    if any(character < " " and character not in "\t\n\r\f\x1a" for character in text[:10_000]):
        raise UserError("this is binary data, not text; a CSV file is needed")
    text = text.rstrip("\x1a\0")
    if not text.strip():
        raise UserError("the file is empty")
    return text
