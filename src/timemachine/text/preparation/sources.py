"""The files of a text: those that a source names, their hash, and where they lie in data/raw/."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path

from timemachine.base.errors import UserError

_BLOCK_BYTES = 1 << 20


def files_of(source: str, root: Path) -> list[Path]:
    """Return the files that a path source names, sorted by their names.

    Args:
        source: path of a file, of a folder (its *.txt files) or a glob, in which `**` matches folders at any
            depth. Files whose name begins with a dot are left out.
        root: folder that relative paths start from.

    Raises:
        UserError: there is no such file, two files have one name, a file in a folder or of a glob is a link, or
            a name has characters that cannot be printed.
    """
    path = root / source
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if not set(source) & set("*?["):
            raise UserError(error.strerror or str(error)) from None
        # `Path.glob` takes no absolute patterns, and looks into hidden folders.
        matches = {root / match for match in glob(source, root_dir=root, recursive=True)}  # noqa: PTH207
        found = [match for match in matches if not match.is_dir()]
        if not found:
            raise UserError("no file matches") from None
    else:
        if not is_folder:
            return [path]  # it may be a link, because its path was given
        found = [file for file in path.glob("*.txt") if not file.is_dir()]
    files = sorted((file for file in found if not file.name.startswith(".")), key=lambda file: (file.name, file))
    if not files:
        raise UserError("a folder without *.txt files")
    for file, following in zip(files, [*files[1:], None], strict=True):
        if file.is_symlink():  # it could lead to a file that nobody meant to read
            raise UserError(f"{file.name}: a link; put the file itself there")
        if not file.name.isprintable():
            raise UserError(f"{file.name!a}: a name with characters that cannot be printed; rename the file")
        if following and file.name == following.name:
            folders = " and ".join(str(other.parent) for other in (file, following))
            raise UserError(f"{file.name}: files in {folders} have this name; rename one")
    return files


def named(name: str, files: Sequence[Path]) -> dict[str, Path]:
    """Return the files of a text by the names that they have in `data/raw/<name>/`.

    Shards keep their names. A single file is `<name>.txt`, so that it does not depend on the source.
    """
    return {f"{name}.txt": files[0]} if len(files) == 1 else {file.name: file for file in files}


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder by name, without hidden ones; none if there is no such folder."""
    files = (path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(files, key=lambda path: path.name)


def sha256_of_text(hashes: Mapping[str, str]) -> str:
    r"""Return the SHA-256 of a text.

    That of a file is the hash of its bytes. That of several shards is the hash of the lines
    `<sha256>  <name>\n`, sorted by name, which `sha256sum * | sha256sum` computes in the C locale.

    Args:
        hashes: SHA-256 of each file in hexadecimal, by the file's name.
    """
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def save(blocks: Iterable[bytes], path: Path | None = None) -> str:
    """Write blocks to a file, if one is given, and return the SHA-256 of their bytes.

    Raises:
        UserError: there are none.
        OSError: the file cannot be written; a note names it.
    """
    digest, num_bytes = hashlib.sha256(), 0
    try:
        with (path or Path(os.devnull)).open("wb") as file:
            for block in blocks:
                digest.update(block)
                num_bytes += file.write(block)
            file.flush()
            if path:
                os.fsync(file.fileno())
    except OSError as error:
        error.add_note(f"{path} was not written")
        raise
    if not num_bytes:
        raise UserError("it is empty")
    return digest.hexdigest()


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file.

    Raises:
        UserError: it is not a file, cannot be read, or changes while it is read.
    """
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise UserError("not a file")  # reading a pipe may block forever
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
        after = path.stat()
    except OSError as error:
        raise UserError(error.strerror or str(error)) from None
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise UserError("it changed while it was read; try again when nothing writes to it")
