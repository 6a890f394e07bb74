"""Get a file with a known hash from the first source that has it.

A source is an https URL or a path. The SHA-256 is checked in memory, before anything is written to disk.
"""

import hashlib
import stat
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from timemachine.base.errors import UserError

_CHUNK_BYTES = 1 << 16


def fetch(
    sources: Sequence[str],
    sha256: str,
    *,
    max_bytes: int,
    timeout_s: float,
    retries: int,
    root: Path,
    report: Callable[[str], None] = print,
) -> bytes:
    """Return the content of the first source that has the expected SHA-256.

    Args:
        sources: https URLs or paths, tried in order; relative paths start at `root`.
        sha256: the expected hash, in hexadecimal.
        max_bytes: largest size of a source in bytes.
        timeout_s: time limit for a source in seconds, including retries and the name look-up.
        retries: number of further requests to a URL after a failed connection or a 5xx status.
        root: folder that relative paths start from.
        report: called with a line for each source that failed.

    Raises:
        UserError: all sources failed; the message has the reason of each.
    """
    reasons = []
    for source in sources:
        try:
            if source.startswith("https://"):
                content = _within(timeout_s, partial(_download, source, max_bytes, timeout_s, retries))
            else:
                content = _read(root / source, max_bytes)
            got = hashlib.sha256(content).hexdigest()
            if got != sha256:
                raise UserError(f"SHA-256 is {got}, wanted {sha256}")
            return content
        except UserError as error:
            reasons.append(f"{source}: {error}")
            report(f"source failed: {reasons[-1]}")
    raise UserError("download.sources: all sources failed: " + "; ".join(reasons))


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError("not a file")  # reading a pipe may block forever
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(error.strerror or str(error)) from None
    if len(content) > max_bytes:
        raise UserError(f"more than max_bytes = {max_bytes} bytes")
    return content


def _within(timeout_s: float, work: Callable[[], bytes]) -> bytes:
    """Call `work` in a thread with a time limit, because a name look-up has none."""
    outcome: list[bytes | Exception] = []

    def body() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(timeout_s)
    (found,) = outcome or [UserError(f"no complete answer within {timeout_s:g} s")]
    if isinstance(found, bytes):
        return found
    if isinstance(found, (requests.RequestException, HTTPError, OSError)):
        raise UserError(_reason(found))
    raise found


def _download(url: str, max_bytes: int, timeout_s: float, retries: int) -> bytes:
    deadline = time.monotonic() + timeout_s
    retry = Retry(retries, redirect=None, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
    content = bytearray()
    with requests.Session() as session:
        session.max_redirects = 5
        # Only https is mounted, so a redirect to another scheme finds no adapter and fails.
        session.adapters.clear()
        session.mount("https://", HTTPAdapter(max_retries=retry))
        with session.get(url, stream=True, timeout=timeout_s / (retries + 1)) as response:
            if response.status_code != 200:
                raise UserError(f"HTTP status {response.status_code}")
            for chunk in response.iter_content(_CHUNK_BYTES):
                content += chunk
                if len(content) > max_bytes:
                    raise UserError(f"more than max_bytes = {max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise UserError(f"no complete answer within {timeout_s:g} s")
    return bytes(content)


def _reason(error: Exception) -> str:
    """Return the innermost cause in one line. requests nests causes, whose texts have addresses of objects."""
    inner: BaseException = error
    while inner.args and isinstance(getattr(inner, "reason", inner.args[0]), BaseException):
        inner = getattr(inner, "reason", inner.args[0])
    return f"{type(error).__name__}: {str(inner).rpartition('>: ')[2] or type(inner).__name__}"
