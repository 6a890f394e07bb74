"""Against a real HTTPS server on loopback."""

import datetime
import hashlib
import ipaddress
import os
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from timemachine.text.fetch import fetch

GOOD = b"The Time Machine, by H. G. Wells\n" * 100
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


def get(*sources: str, root: Path = Path(), timeout_s: float = 5, **options: Any) -> bytes:
    options = {"max_bytes": 10_000_000, "retries": 2, "report": lambda _: None} | options
    return fetch(sources, SHA256, timeout_s=timeout_s, root=root, **options)


@pytest.mark.parametrize("path", ["good", "moved", "stumble"])
def test_a_good_server_delivers_also_after_a_redirect_and_after_failures(path: str, server: str) -> None:
    assert get(f"{server}/{path}") == GOOD


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("wrong", f"SHA-256 is {hashlib.sha256(b'something else').hexdigest()}, wanted {SHA256}"),
        ("missing", "HTTP status 404"),
        ("half", "IncompleteRead"),
        ("loop", "TooManyRedirects"),
        ("plain", "InvalidSchema"),
        ("endless", "more than max_bytes = 10000000 bytes"),
    ],
)
def test_a_bad_source_is_named_with_its_reason_and_the_next_one_is_tried(
    path: str, reason: str, server: str, tmp_path: Path
) -> None:
    (tmp_path / "copy.txt").write_bytes(GOOD)
    said: list[str] = []
    assert get(f"{server}/{path}", "copy.txt", root=tmp_path, report=said.append) == GOOD
    assert len(said) == 1
    assert f"{server}/{path}" in said[0]
    assert reason in said[0]


def test_a_server_that_says_nothing_costs_no_more_than_the_time_out(server: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"no complete answer within 0\.3 s|Timeout"):
        get(f"{server}/silent", timeout_s=0.3, retries=0)
    assert time.monotonic() - begin < 2


def test_a_certificate_that_nobody_vouches_for_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ValueError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"{server}/good")


def test_when_no_source_delivers_the_error_has_the_reason_of_each(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(GOOD + b"x")
    os.mkfifo(tmp_path / "pipe")
    reasons = r"absent\.txt: No such file.*long\.txt: more than max_bytes.*pipe: not a file"
    with pytest.raises(ValueError, match=reasons):
        get("absent.txt", "long.txt", "pipe", root=tmp_path, max_bytes=len(GOOD))


def test_a_path_that_cannot_even_be_looked_at_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_bytes(GOOD)
    assert get("x" * 300, "good.txt", root=tmp_path) == GOOD
