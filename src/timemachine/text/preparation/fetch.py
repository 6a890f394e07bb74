"""Get the files of a text with a known hash from the first source that has them.

A source is an https URL or a path. Files are written to a hidden folder while they are hashed, and get their place
when the hash is right.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from queue import Empty, Queue

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from timemachine.base.errors import UserError, about
from timemachine.base.files import sha256_of
from timemachine.text.preparation.config import DownloadParams, TextEntry
from timemachine.text.preparation.reading import read_piece
from timemachine.text.preparation.sources import files_in, files_of, named, read_blocks, save, sha256_of_text

_BLOCK_BYTES = 1 << 16
_NUM_BLOCKS_AHEAD = 16
# A download may take `timeout_s`, and a second for each of these bytes.
_SLOWEST_BYTES_PER_S = 100_000


def fetch_text(
    name: str,
    entry: TextEntry,
    limits: DownloadParams,
    raw: Path,
    root: Path,
    report: Callable[[str], object] = print,
) -> list[Path]:
    """Put the files of a text into `raw/<name>`, unless they are there, and return their paths.

    Files that are there already and belong to the text are not written again; other files are removed. If no
    source has the text, nothing is changed.

    Args:
        name: of the text.
        entry: its sources and its hash.
        limits: of a download. A source may take `timeout_s` for the first answer, and a second per 100 kB then.
        raw: the folder `data/raw`. A file `<name>.txt` in it, from an earlier version, is the first source.
        root: folder that relative paths start from.
        report: called with a line for each source that failed.

    Raises:
        UserError: all sources failed, and the message has the reason of each; or a file is not a text.
    """
    out, earlier = raw / name, raw / f"{name}.txt"
    held = {path.name: sha256_of(path) for path in files_in(out)}
    if held and sha256_of_text(held) == entry.sha256 and (len(held) > 1 or f"{name}.txt" in held):
        earlier.unlink(missing_ok=True)
        return files_in(out)
    reasons = []
    for source in [*([str(earlier.resolve())] if earlier.is_file() else []), *entry.sources]:
        with _hidden_folder(raw / f".{name}.tmp") as folder:
            try:
                hashes = _get(source, name, limits, root, folder, out, held)
                if (got := sha256_of_text(hashes)) != entry.sha256:
                    of = f" of its {len(hashes)} files" if len(hashes) > 1 else ""
                    raise UserError(f"SHA-256{of} is {got}, wanted {entry.sha256}")
            except UserError as error:
                reasons.append(f"{source}: {error}")
                report(f"source failed: {reasons[-1]}")
                continue
            for path in files_in(folder):
                try:
                    read_piece(path, entry.encoding, entry.licence)
                except UserError as error:
                    shown = source if len(hashes) == 1 else f"{source}: {path.name}"
                    raise UserError(str(error).replace(str(path), shown, 1)) from None
            out.mkdir(exist_ok=True)
            for path in files_in(folder):
                path.replace(out / path.name)
        for path in files_in(out):
            if path.name not in hashes:
                path.unlink()
        earlier.unlink(missing_ok=True)
        return files_in(out)
    raise UserError(f"texts.{name}.sources: all sources failed: " + "; ".join(reasons))


@contextmanager
def _hidden_folder(folder: Path) -> Iterator[Path]:
    """Make an empty folder and remove it at the end. What a killed process has left of it is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _get(
    source: str, name: str, limits: DownloadParams, root: Path, folder: Path, out: Path, held: dict[str, str]
) -> dict[str, str]:
    """Write the files of a source, except those that `out` holds, to a folder, and return the hashes of all."""
    if source.startswith("https://"):
        return {f"{name}.txt": save(_download(source, limits), folder / f"{name}.txt")}
    files, hashes = named(name, files_of(source, root)), {}
    for file, path in files.items():
        with about(file) if len(files) > 1 else nullcontext():
            # The size tells most changed files, which are then read once only.
            may_be_held = file in held and path.is_file() and path.stat().st_size == (out / file).stat().st_size
            if may_be_held and save(read_blocks(path)) == held[file]:
                hashes[file] = held[file]
            else:
                hashes[file] = save(read_blocks(path), folder / file)
    return hashes


def _download(url: str, limits: DownloadParams) -> Iterator[bytes]:
    """Yield the content of a URL, read in a thread, because a name look-up has no time limit."""
    blocks: Queue[bytes | Exception | None] = Queue(_NUM_BLOCKS_AHEAD)
    over = threading.Event()

    def read() -> None:
        try:
            for block in _response(url, limits):
                blocks.put(block)
                if over.is_set():
                    return
            blocks.put(None)
        except Exception as error:
            blocks.put(error)

    threading.Thread(target=read, daemon=True).start()
    begin, num_bytes = time.monotonic(), 0
    try:
        while True:
            allowed_s = limits.timeout_s + num_bytes / _SLOWEST_BYTES_PER_S
            try:
                block = blocks.get(timeout=max(begin + allowed_s - time.monotonic(), 0))
            except Empty:
                raise UserError(f"no complete answer within {allowed_s:g} s") from None
            if isinstance(block, (requests.RequestException, HTTPError, OSError)):
                raise UserError(_reason(block))
            if isinstance(block, Exception):
                raise block
            if block is None:
                return
            num_bytes += len(block)
            if num_bytes > limits.max_bytes:
                raise UserError(f"more than download.max_bytes = {limits.max_bytes} bytes")
            yield block
    finally:
        over.set()
        while not blocks.empty():  # the thread may be waiting for room
            blocks.get_nowait()


def _response(url: str, limits: DownloadParams) -> Iterator[bytes]:
    retry = Retry(limits.retries, redirect=None, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
    with requests.Session() as session:
        session.max_redirects = 5
        # Only https is mounted, so a redirect to another scheme finds no adapter and fails.
        session.adapters.clear()
        session.mount("https://", HTTPAdapter(max_retries=retry))
        with session.get(url, stream=True, timeout=limits.timeout_s / (limits.retries + 1)) as response:
            if response.status_code != 200:
                raise UserError(f"HTTP status {response.status_code}")
            yield from response.iter_content(_BLOCK_BYTES)


def _reason(error: Exception) -> str:
    """Return the innermost cause in one line. requests nests causes, whose texts have addresses of objects."""
    inner: BaseException = error
    while inner.args and isinstance(getattr(inner, "reason", inner.args[0]), BaseException):
        inner = getattr(inner, "reason", inner.args[0])
    return f"{type(error).__name__}: {str(inner).rpartition('>: ')[2] or type(inner).__name__}"
