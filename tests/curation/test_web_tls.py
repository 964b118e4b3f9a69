"""Certificates are verified, whatever the list says; the tests make their own authority."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from curation.web import WebOpener
from pipeline.reasons import Reason
from tests.curation.test_web import (
    BODY,
    Answer,
    reason_of,
    repeats,
    reply,
    resolves,
    sends,
    serving,
    settings,
)
from tests.curation.test_web_bad_input import sockets_to

pytestmark = pytest.mark.timeout(30)

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
NAME = x509.DNSName("pictures.example")


class Authority:
    """Signs certificates; with `signed=False` a certificate signs itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        own = self._builder(self._name, self._key, NOW - DAY, NOW + DAY)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    def certificate(
        self,
        name: x509.GeneralName = NAME,
        signed: bool = True,
        start: datetime.datetime = NOW - DAY,
        end: datetime.datetime = NOW + DAY,
    ) -> Path:
        """A file of a new key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
        builder = self._builder(subject, key, start, end, self._name if signed else subject)
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        made = builder.sign(self._key if signed else key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self._folder / f"{made.serial_number}.pem"
        path.write_bytes(private + _pem(made))
        return path

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        start: datetime.datetime,
        end: datetime.datetime,
        issuer: x509.Name | None = None,
    ) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=issuer or subject,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=start,
            not_valid_after=end,
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def trusting(authority: Authority) -> WebOpener:
    """An opener that trusts the authority; every name is this machine."""
    tls = ssl.create_default_context(cafile=str(authority.file))
    return WebOpener(settings(), resolves("127.0.0.1"), tls)


@contextmanager
def serving_tls(certificate: Path, answer: Answer | None = None) -> Iterator[int]:
    """Yields the server's port; like `serving`, one layer further down."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(4096)
                (answer or sends(reply()))(secured, "/")
        except OSError:
            pass  # the client refused the certificate, or has gone

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            Thread(target=serve, args=(connection,), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (NAME, "pictures.example"),
        (x509.DNSName("*.pictures.example"), "a.pictures.example"),
        (x509.DNSName("xn--bcher-kva.example"), "bücher.example"),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), "127.0.0.1"),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), "0x7f.1"),
    ],
)
def test_a_valid_certificate_is_accepted(
    authority: Authority, trusting: WebOpener, name: x509.GeneralName, host: str
) -> None:
    with serving_tls(authority.certificate(name)) as port:
        assert trusting.open(f"https://{host}:{port}/").read() == BODY
        assert sockets_to(port) == []


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (x509.DNSName("other.example"), "pictures.example"),
        (x509.DNSName("*.pictures.example"), "a.b.pictures.example"),
        (x509.DNSName("pictures.example.org"), "pictures.example"),
        (NAME, "127.0.0.1"),
        (x509.DNSName("127.0.0.1"), "127.0.0.1"),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.2")), "127.0.0.1"),
    ],
)
def test_a_certificate_for_another_name_is_refused(
    authority: Authority, trusting: WebOpener, name: x509.GeneralName, host: str
) -> None:
    with serving_tls(authority.certificate(name)) as port:
        assert reason_of(f"https://{host}:{port}/", trusting) is Reason.TLS_FAILED
        assert sockets_to(port) == []


def test_a_certificate_signed_by_itself_is_refused(authority: Authority, trusting: WebOpener) -> None:
    with serving_tls(authority.certificate(signed=False)) as port:
        assert reason_of(f"https://pictures.example:{port}/", trusting) is Reason.TLS_FAILED


def test_an_unknown_authority_is_refused_by_the_machines_own_trust(authority: Authority) -> None:
    opener = WebOpener(settings(), resolves("127.0.0.1"))
    with serving_tls(authority.certificate()) as port:
        assert reason_of(f"https://pictures.example:{port}/", opener) is Reason.TLS_FAILED


def test_an_expired_certificate_is_refused(authority: Authority, trusting: WebOpener) -> None:
    with serving_tls(authority.certificate(start=NOW - 3 * DAY, end=NOW - DAY)) as port:
        assert reason_of(f"https://pictures.example:{port}/", trusting) is Reason.TLS_FAILED


def test_a_certificate_of_tomorrow_is_refused(authority: Authority, trusting: WebOpener) -> None:
    with serving_tls(authority.certificate(start=NOW + DAY, end=NOW + 3 * DAY)) as port:
        assert reason_of(f"https://pictures.example:{port}/", trusting) is Reason.TLS_FAILED


def test_a_redirect_to_a_wrong_certificate_is_refused(authority: Authority, trusting: WebOpener) -> None:
    with serving_tls(authority.certificate(x509.DNSName("other.example"))) as port:
        moved = reply(b"", f"Location: https://pictures.example:{port}/", status="302 Found")
        with serving(sends(moved)) as server:
            assert reason_of(server.url(), trusting) is Reason.TLS_FAILED


def test_a_redirect_from_https_to_http_is_followed(authority: Authority, trusting: WebOpener) -> None:
    with serving(sends(reply())) as server:
        moved = reply(b"", f"Location: {server.url()}", status="301 Moved")
        with serving_tls(authority.certificate(), sends(moved)) as port:
            assert trusting.open(f"https://pictures.example:{port}/").read() == BODY


def test_http_on_a_tls_port_is_no_http(authority: Authority, trusting: WebOpener) -> None:
    with serving_tls(authority.certificate()) as port:
        reason = reason_of(f"http://127.0.0.1:{port}/", trusting)
        assert reason in (Reason.HTTP_PROTOCOL_ERROR, Reason.CONNECT_FAILED)  # an alert, or a reset before it
        assert sockets_to(port) == []


@contextmanager
def greeting(data: bytes, more: bytes | None = None) -> Iterator[int]:
    """A port without TLS that sends something, then more bit by bit; without more it closes."""
    ended = Event()

    def greet() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(data)
            connection.recv(4096)
            while more is not None and not ended.wait(0.02):
                connection.sendall(more)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=greet, daemon=True).start()
        yield listener.getsockname()[1]
    ended.set()


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\0\x02\x02\x28", b""])
def test_tls_on_a_port_without_it_fails(data: bytes) -> None:
    with greeting(data) as port:
        assert reason_of(f"https://127.0.0.1:{port}/") is Reason.TLS_FAILED
        assert sockets_to(port) == []


@pytest.mark.parametrize("more", [b"", b"\x02"], ids=["silence", "trickle"])
def test_the_deadline_ends_a_handshake_that_never_ends(more: bytes) -> None:
    with greeting(b"\x16\x03\x03\x3f\xff\x02", more) as port:  # the head of a record of 16 kB
        assert reason_of(f"https://127.0.0.1:{port}/", deadline_s=0.3) is Reason.DEADLINE_EXCEEDED
        assert sockets_to(port) == []


def test_the_deadline_ends_a_trickling_body_under_tls(authority: Authority) -> None:
    tls = ssl.create_default_context(cafile=str(authority.file))
    opener = WebOpener(settings(deadline_s=0.5), resolves("127.0.0.1"), tls)
    with serving_tls(authority.certificate(), repeats(b"x", 0.02, b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert reason_of(f"https://pictures.example:{port}/", opener) is Reason.DEADLINE_EXCEEDED
        assert sockets_to(port) == []
