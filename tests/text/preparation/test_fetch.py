"""Against a real HTTPS server on loopback."""

import datetime
import hashlib
import ipaddress
import os
import resource
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from timemachine.text.preparation import fetch
from timemachine.text.preparation.config import DownloadParams, TextEntry
from timemachine.text.preparation.fetch import fetch_text
from timemachine.text.preparation.sources import files_of, read_blocks

GOOD = b"The Time Machine, by H. G. Wells\n" * 10_000
SHA256 = hashlib.sha256(GOOD).hexdigest()


class Handler(BaseHTTPRequestHandler):
    num_stumbles = 0

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        getattr(self, self.path.strip("/"))()

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def good(self) -> None:
        self.answer(200, GOOD)

    def wrong(self) -> None:
        self.answer(200, b"something else")

    def missing(self) -> None:
        self.answer(404, GOOD)

    def half(self) -> None:
        self.answer(200, GOOD[:50], **{"Content-Length": str(len(GOOD))})

    def loop(self) -> None:
        self.answer(302, Location="/loop")

    def plain(self) -> None:
        self.answer(302, Location="http://127.0.0.1:9/good")

    def moved(self) -> None:
        self.answer(302, Location="/good")

    def stumble(self) -> None:
        type(self).num_stumbles += 1
        self.answer(503 if type(self).num_stumbles < 3 else 200, GOOD)

    def silent(self) -> None:
        time.sleep(1)

    def slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GOOD)))
        self.end_headers()
        for begin in range(0, len(GOOD), 66_000):
            time.sleep(0.2)
            self.wfile.write(GOOD[begin : begin + 66_000])

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(10_000):
                self.wfile.write(b"x" * 100_000)
        except OSError:
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what some tests are about."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    httpd = Server(("127.0.0.1", 0), Handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "cert.pem"))
        yield f"https://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def get(raw: Path, *sources: str, report: Callable[[str], object] = lambda _: None, **limits: Any) -> bytes:
    """Fetch a text of one file from sources relative to the folder above `raw`."""
    entry = TextEntry(sources=list(sources), sha256=SHA256)
    (path,) = fetch_text("book", entry, DownloadParams(**{"timeout_s": 5.0} | limits), raw, raw.parent, report)
    assert path == raw / "book/book.txt"
    assert [file.name for file in raw.iterdir()] == ["book"]
    return path.read_bytes()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.mark.parametrize("path", ["good", "moved", "stumble"])
def test_a_good_server_delivers_also_after_a_redirect_and_after_failures(
    path: str, server: str, raw: Path
) -> None:
    assert get(raw, f"{server}/{path}") == GOOD


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("wrong", f"SHA-256 is {hashlib.sha256(b'something else').hexdigest()}, wanted {SHA256}"),
        ("missing", "HTTP status 404"),
        ("half", "IncompleteRead"),
        ("loop", "TooManyRedirects"),
        ("plain", "InvalidSchema"),
        ("endless", "more than download.max_bytes = 1000000 bytes"),
    ],
)
def test_a_bad_source_is_named_with_its_reason_and_the_next_one_is_tried(
    path: str, reason: str, server: str, raw: Path
) -> None:
    (raw.parent / "copy.txt").write_bytes(GOOD)
    said: list[str] = []
    assert get(raw, f"{server}/{path}", "copy.txt", report=said.append, max_bytes=1_000_000) == GOOD
    assert len(said) == 1
    assert f"{server}/{path}" in said[0]
    assert reason in said[0]


def test_a_server_that_says_nothing_costs_no_more_than_the_time_out(server: str, raw: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"no complete answer within 0\.3 s|Timeout"):
        get(raw, f"{server}/silent", timeout_s=0.3, retries=0)
    assert time.monotonic() - begin < 2


def test_a_download_may_take_longer_than_the_time_out_as_long_as_it_is_not_too_slow(
    server: str, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(raw, f"{server}/slow", timeout_s=0.5, retries=0) == GOOD
    monkeypatch.setattr(fetch, "_SLOWEST_BYTES_PER_S", 10**9)
    (raw / "book/book.txt").unlink()
    with pytest.raises(ValueError, match=r"no complete answer within 0\.5"):
        get(raw, f"{server}/slow", timeout_s=0.5, retries=0)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: str, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ValueError, match="CERTIFICATE_VERIFY_FAILED"):
        get(raw, f"{server}/good")


def test_when_no_source_delivers_the_error_has_the_reason_of_each_and_nothing_changes(raw: Path) -> None:
    (raw / "book").mkdir(parents=True)
    (raw / "book/book.txt").write_text("before")
    (raw.parent / "long.txt").write_bytes(GOOD + b"x")
    os.mkfifo(raw.parent / "pipe")
    reasons = r"^texts\.book\.sources: .*absent\.txt: No such file.*long\.txt: SHA-256 is .*pipe: not a file"
    with pytest.raises(ValueError, match=reasons):
        get(raw, "absent.txt", "long.txt", "pipe")
    assert [path.name for path in raw.iterdir()] == ["book"]
    assert (raw / "book/book.txt").read_text() == "before"


def test_a_path_that_cannot_even_be_looked_at_is_passed_over(raw: Path) -> None:
    (raw.parent / "good.txt").write_bytes(GOOD)
    assert get(raw, "x" * 300, "good.txt") == GOOD


def test_the_text_of_an_earlier_version_is_moved_to_its_folder(raw: Path) -> None:
    raw.mkdir()
    (raw / "book.txt").write_bytes(GOOD)
    (raw / ".book.tmp").mkdir()  # of a process that was killed
    assert get(raw, "absent.txt") == GOOD
    (raw / "book.txt").write_bytes(GOOD)
    assert get(raw, "absent.txt") == GOOD


def test_a_full_disk_is_an_error_that_names_the_file_and_changes_nothing(raw: Path) -> None:
    (raw.parent / "copy.txt").write_bytes(GOOD)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(GOOD) // 2, limit[1]))  # the same error path as no room
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            get(raw, "copy.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert failed.value.__notes__ == [f"{raw / '.book.tmp/book.txt'} was not written"]
    assert list(raw.iterdir()) == []


# Shards


def write_shards(folder: Path, **contents: str) -> str:
    """Write shards and return the hash of the text, computed by coreutils."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.txt").write_text(content)
    command = "LC_ALL=C; export LC_ALL; sha256sum *.txt | sha256sum | cut -c -64"
    return subprocess.run(
        command, cwd=folder, shell=True, check=True, capture_output=True, text=True
    ).stdout.strip()


def get_shards(raw: Path, source: str, sha256: str) -> dict[str, str]:
    files = fetch_text("shelf", TextEntry(sources=[source], sha256=sha256), DownloadParams(), raw, raw.parent)
    assert [path.name for path in raw.iterdir()] == ["shelf"]
    return {path.name: path.read_text() for path in files}


@pytest.mark.parametrize("source", ["own", "own/*.txt", "**/*.txt"])
def test_a_folder_or_a_glob_is_a_text_in_shards_of_which_only_changed_ones_are_copied(
    source: str, raw: Path
) -> None:
    own = raw.parent / "own"
    (own / ".hidden.txt").parent.mkdir()
    (own / ".hidden.txt").write_text("not a shard")
    contents = {"b": "second\n", "a": "first\n", "c": "third\n"}
    found = get_shards(raw, source, write_shards(own, **contents))
    assert list(found.items()) == [(f"{name}.txt", contents[name]) for name in "abc"]
    kept = (raw / "shelf/a.txt").stat()
    (own / "c.txt").unlink()
    found = get_shards(raw, "own", write_shards(own, b="other", d="fourth"))
    assert found == {"a.txt": "first\n", "b.txt": "other", "d.txt": "fourth"}
    assert (raw / "shelf/a.txt").stat() == kept


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a.txt: it is empty"),
        (b"caf\xe9", "own: a.txt: not UTF-8 at byte 3"),
        (b"another", "SHA-256 of its 2 files"),
    ],
)
def test_a_shard_that_is_empty_no_text_or_another_one_is_named_and_nothing_changes(
    content: bytes, reason: str, raw: Path
) -> None:
    before = get_shards(raw, "own", write_shards(raw.parent / "own", a="first", b="second"))
    (raw.parent / "own/a.txt").write_bytes(content)
    sha256 = "0" * 64 if content == b"another" else write_shards(raw.parent / "own")
    with pytest.raises(ValueError, match=reason):
        get_shards(raw, "own", sha256)
    assert {path.name: path.read_text() for path in (raw / "shelf").iterdir()} == before


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "growing.txt").write_bytes(GOOD)
    blocks = read_blocks(tmp_path / "growing.txt")
    next(blocks)
    (tmp_path / "growing.txt").write_bytes(GOOD * 2)
    with pytest.raises(ValueError, match="it changed while it was read"):
        list(blocks)


def two_of_one_name(folder: Path) -> None:
    for shelf in "ab":
        write_shards(folder / shelf, one="x")


@pytest.mark.parametrize(
    ("source", "make", "reason"),
    [
        ("own/*.txt", lambda folder: None, "no file matches"),
        ("own", lambda folder: (folder / "own").mkdir(), r"a folder without \*\.txt files"),
        ("*/one.txt", two_of_one_name, r"one\.txt: files in .*a and .*b have this name"),
        ("*.txt", lambda folder: (folder / "x.txt").symlink_to("/etc/hostname"), r"x\.txt: a link"),
        ("*.txt", lambda folder: (folder / "a\nb.txt").write_text("x"), r"'a\\nb\.txt': a name with characters"),
    ],
)
def test_a_folder_or_a_glob_without_shards_or_with_odd_ones_is_refused(
    source: str, make: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.raises(ValueError, match=reason):
        files_of(source, tmp_path)
