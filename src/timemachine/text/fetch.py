"""Get a file of known content from the first source that has it.

A source is an https URL or a path. What a source sends is checked against the SHA-256 in memory, so that
wrong bytes never touch the disk.
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
from urllib3.util.retry import Retry

from timemachine.base.errors import UserError

_CHUNK_BYTES = 1 << 16


class SourceError(Exception):
    """Why one source did not deliver."""


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
    """Return the first source's content whose SHA-256 is the wanted one.

    Args:
        sources: https URLs or paths, tried in order; relative paths start at `root`.
        sha256: the wanted hash, in hexadecimal.
        max_bytes: a source with more bytes is refused.
        timeout_s: time for one source in seconds, retries and name look-up included.
        retries: further tries of one URL after a failed connection or a 5xx answer.
        root: folder that relative paths start from.
        report: takes one line per source that failed.

    Raises:
        UserError: no source delivered; the message has the reason of each.
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
                raise SourceError(f"SHA-256 is {got}, wanted {sha256}")
            return content
        except SourceError as error:
            reasons.append(f"{source}: {error}")
            report(f"passing over {reasons[-1]}")
    raise UserError("download.sources: none delivered the text: " + "; ".join(reasons))


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError("not a file")  # nobody may ever write into a pipe
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from None
    if len(content) > max_bytes:
        raise SourceError(f"more than max_bytes = {max_bytes} bytes")
    return content


def _within(timeout_s: float, work: Callable[[], bytes]) -> bytes:
    """Run `work` in a thread and give up after `timeout_s`: a name look-up has no time-out of its own."""
    outcome: list[bytes | SourceError] = []

    def body() -> None:
        try:
            outcome.append(work())
        except SourceError as error:
            outcome.append(error)
        except Exception as error:
            outcome.append(SourceError(f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        raise SourceError(f"no complete answer within {timeout_s:g} s")
    if isinstance(outcome[0], SourceError):
        raise outcome[0]
    return outcome[0]


def _download(url: str, max_bytes: int, timeout_s: float, retries: int) -> bytes:
    deadline = time.monotonic() + timeout_s
    retry = Retry(retries, redirect=None, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
    content = bytearray()
    with requests.Session() as session:
        session.max_redirects = 5
        # Only https is mounted: a redirect to anything else has no adapter and fails.
        session.adapters.clear()
        session.mount("https://", HTTPAdapter(max_retries=retry))
        try:
            with session.get(url, stream=True, timeout=timeout_s / (retries + 1)) as response:
                if response.status_code != 200:
                    raise SourceError(f"HTTP status {response.status_code}")
                for chunk in response.iter_content(_CHUNK_BYTES):
                    content += chunk
                    if len(content) > max_bytes:
                        raise SourceError(f"more than max_bytes = {max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise SourceError(f"no complete answer within {timeout_s:g} s")
        except requests.RequestException as error:
            raise SourceError(_reason(error)) from None
    return bytes(content)


def _reason(error: requests.RequestException) -> str:
    """Return the innermost cause in one short line; requests nests them with addresses of objects."""
    inner: BaseException = error
    while inner.args and isinstance(getattr(inner, "reason", inner.args[0]), BaseException):
        inner = getattr(inner, "reason", inner.args[0])
    return f"{type(error).__name__}: {str(inner).rpartition('>: ')[2] or type(inner).__name__}"
