"""Files that are never partly written.

Each file is written to a temporary name in the same folder, flushed to disk and renamed. Readers see the old or
the new file, also after a failed write or a power cut.
"""

import csv
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from timemachine.base.errors import UserError

T = TypeVar("T")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which is renamed to `path` if the block succeeds.

    The folder is created if it does not exist. After an exception the temporary file is removed and `path` is
    unchanged. Temporary files of `path` that killed processes have left are removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, glob.escape(path.name))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)  # the new name
    except OSError as error:
        error.add_note(f"{path} was not written and is unchanged")
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove temporary files of files of this name whose process no longer runs, if permissions allow it."""
    for path in folder.glob(f".{name}.*.tmp*"):
        found = re.search(r"\.(\d+)\.[^.]+\.tmp", path.name)
        if found and not is_running(int(found[1])):
            with suppress(OSError):
                path.unlink()


def is_running(pid: int) -> bool:
    """Return whether a process with this number runs on this machine."""
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes to a file."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write text to a file as UTF-8, without converting line ends."""
    write_bytes(path, content.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows with the same keys as CSV with a header. Numbers are written with all their digits."""
    lines = [list(rows[0]), *(row.values() for row in rows)]
    write_text(path, "".join(",".join(map(str, line)) + "\n" for line in lines))


def read_table(path: str | Path, what: str, parse: Callable[[Mapping[str, str]], T]) -> list[T]:
    """Return the rows of a file that `write_table` wrote.

    Args:
        path: a CSV file with a header.
        what: a description of the file for the error message.
        parse: returns the value of a row of texts. It may raise `KeyError`, `TypeError` or `ValueError` if the
            file is damaged.

    Raises:
        UserError: the file does not exist, has no rows or is damaged.
    """
    content = _read(path)
    try:
        # The first digits of a number are a number too, but the last line of a truncated file has no newline.
        lines = content.decode().splitlines() if content.endswith(b"\n") else []
        rows = [parse(row) for row in csv.DictReader(lines)]
    except (KeyError, TypeError, ValueError, csv.Error):
        rows = []
    if not rows:
        raise UserError(f"{path}: not {what}; recreate it with `dvc repro`")
    return rows


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as safetensors, one after the other. The same arrays give the same bytes."""
    # As `safetensors.numpy.save` does it, which needs the memory of all arrays twice more.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header, begin = {}, 0
    for name, array in ordered:
        kind = {"f": "F", "i": "I", "u": "U"}[array.dtype.kind] + str(8 * array.dtype.itemsize)
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (begin, begin + array.nbytes)}
        begin += array.nbytes
    content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for _, array in ordered:
            file.write(np.ascontiguousarray(array).data)


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file that `write_arrays` wrote, by name in alphabetical order.

    Raises:
        UserError: the file does not exist or is damaged.
    """
    try:
        # safetensors returns the names in an order that changes from run to run.
        return dict(sorted(load(_read(path)).items()))
    except SafetensorError as error:
        raise UserError(f"{path}: damaged ({error}); recreate it with `dvc repro`") from None


def read_json(path: str | Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        UserError: the file does not exist, is not UTF-8 or not JSON.
    """
    content = _read(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: an integer with too many digits
        raise UserError(f"{path}: not JSON ({error}); recreate it with `dvc repro`") from None


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        UserError: the file does not exist, is damaged or holds no object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys; recreate it with `dvc repro`")
    return content


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
