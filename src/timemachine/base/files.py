"""Files that are either whole or absent.

Everything the pipeline writes goes to a temporary name in the same folder, is flushed to disk and then
renamed, so that no reader ever meets half a file, a failed write leaves the old one in place, and a power cut
one of the two.
"""

import csv
import glob
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from timemachine.base.errors import UserError

T = TypeVar("T")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` that becomes `path` if the block succeeds.

    The folder is created when absent. On an exception the temporary file is removed and an older `path`
    stays as it was. What a process that was killed left behind goes with the next write of the same file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, glob.escape(path.name))
    prefix = f".{path.name}.{os.getpid()}."
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=f".tmp{path.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        temporary.replace(path)
        _flush(path.parent)  # the new name
    except OSError as error:
        error.add_note(f"while {path} was written, which is as it was before")
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
    """Remove what processes that are gone have left of their writing of files of this name, as far as one may."""
    for path in folder.glob(f".{name}.*.tmp*"):
        found = re.search(r"\.(\d+)\.[^.]+\.tmp", path.name)
        if found and not _is_running(int(found[1])):
            with suppress(OSError):
                path.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` to `path` as UTF-8 with `\\n` line ends, whole or not at all."""
    write_bytes(path, content.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are programming errors and raise `ValueError`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of the same keys as CSV with a header; numbers survive the round trip exactly."""
    lines = [list(rows[0]), *(row.values() for row in rows)]
    write_text(path, "".join(",".join(map(str, line)) + "\n" for line in lines))


def read_table(path: str | Path, what: str, parse: Callable[[Mapping[str, str]], T]) -> list[T]:
    """Return the rows of what `write_table` wrote.

    Args:
        path: a CSV file with a header.
        what: the file is, for the message.
        parse: makes a value of the texts of a row; a `KeyError`, `TypeError` or `ValueError` of it is a fault
            of the file.

    Raises:
        UserError: the file is absent, without rows or damaged.
    """
    try:
        content = Path(path).read_bytes().decode()
        # A number that was cut short may still be a number, but its line has no end.
        lines = content.splitlines() if content.endswith("\n") else []
        rows = [parse(row) for row in csv.DictReader(lines)]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None
    except (KeyError, TypeError, ValueError, csv.Error):
        rows = []
    if not rows:
        raise UserError(f"{path}: not {what}; `dvc repro` makes it again")
    return rows


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as safetensors; the same arrays give the same bytes."""
    write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return what `write_arrays` wrote, by name in alphabetical order.

    Raises:
        UserError: the file is absent, cut short or damaged.
    """
    try:
        # safetensors names them in an order that changes from run to run.
        return dict(sorted(load(Path(path).read_bytes()).items()))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None
    except SafetensorError as error:
        raise UserError(f"{path}: cut short or damaged ({error}); `dvc repro` makes it again") from None


def read_json(path: str | Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        UserError: the file is absent, not UTF-8 or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); `dvc repro` makes it again") from None


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        UserError: the file is absent, damaged or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys; `dvc repro` makes it again")
    return content


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
