"""A site on a loopback port that remembers what it was sent, names that lead wherever a test says,
and a certificate of one of them (`keys.test`)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Site:
    """A server of one answer on a loopback port; keeps the requests, and the names that TLS
    clients asked for."""

    def __init__(self, answer: bytes, pause: float = 0.0) -> None:
        self.answer = answer
        self.pause = pause
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(self.pause)
        writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def site(
    answer: bytes,
    tls: ssl.SSLContext | None = None,
    *,
    pause: float = 0.0,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Site]:
    opened = Site(answer, pause)
    server = await asyncio.start_server(opened.serve, host, port, ssl=tls)
    opened.port = server.sockets[0].getsockname()[1]
    async with server:
        yield opened


class Names:
    """A resolver: each host's addresses, one list per question; the last is asked for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@cache
def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys.test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("keys.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(pem), private


def server_tls(folder: Path) -> ssl.SSLContext:
    public, private = _certificate()
    (folder / "tls.pem").write_bytes(private + public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=_certificate()[0].decode())
