"""TLS of a process: whom it believes when it calls others, and how it is called itself."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from fhir_server.rest.middleware import STRICT_TRANSPORT, Headers
from fhir_server.settings import Settings
from fhir_server.tls import MINIMUM, trusting

LOOK_SECONDS = 60.0
"""Between looks at the files of a certificate."""

_log = logging.getLogger("medsage.tls")


def calling(settings: Settings) -> ssl.SSLContext:
    """For HTTPS calls, by the authorities of the settings."""
    return trusting(settings.tls_ca_file, settings.tls_minimum)


def called(config: uvicorn.Config, settings: Settings) -> None:
    """Speak TLS with this process' own certificate, where it has one, and with a renewed one from
    the minute on that it lies there; for a running loop."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return
    config.ssl_certfile = settings.tls_certificate_file
    config.ssl_keyfile = settings.tls_key_file
    config.load()
    if config.ssl is None:
        raise ValueError("uvicorn made no TLS context of a certificate")
    config.ssl.minimum_version = MINIMUM[settings.tls_minimum]
    renewal = Renewal(config.ssl, settings.tls_certificate_file, settings.tls_key_file)
    loop = asyncio.get_running_loop()

    def look() -> None:
        renewal.look()
        loop.call_later(LOOK_SECONDS, look)

    loop.call_later(LOOK_SECONDS, look)


@dataclass
class Renewal:
    """The files that a running context took its certificate from."""

    context: ssl.SSLContext
    certificate: Path
    key: Path
    _taken: object = field(init=False)

    def __post_init__(self) -> None:
        self._taken = self._seen()

    def look(self) -> bool:
        """Take up what lies there, if it is other than before; whether that was done. Connections
        that are open keep theirs. What does not fit, as of two files only one is new, is looked at
        again the next time."""
        now = self._seen()
        if now is None or now == self._taken:
            return False
        problem = next(_unusable("a renewed certificate", self.certificate, self.key), None)
        if problem is not None:
            _log.warning(problem)
            return False
        # Only now: a context that has read half of it can greet nobody any more.
        self.context.load_cert_chain(self.certificate, self.key, password=_no_password)
        self._taken = now
        return True

    def _seen(self) -> object:
        """What tells one state of the files from another; None while one is missing."""
        try:
            found = [each.stat() for each in (self.certificate, self.key)]
        except OSError:
            return None
        return [(each.st_ino, each.st_mtime_ns, each.st_size) for each in found]


def headers(settings: Settings) -> Headers:
    """What answers say besides, where this process ends TLS."""
    return () if settings.tls_certificate_file is None else STRICT_TRANSPORT


def problems(settings: Settings) -> Iterator[str]:
    """A line for each file that can't be used; no text of a key."""
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if (certificate is None) != (key is None):
        missing = "MEDSAGE_TLS_KEY_FILE" if key is None else "MEDSAGE_TLS_CERTIFICATE_FILE"
        yield f"{missing}: must be set too"
    if certificate is not None and key is not None:
        yield from _unusable("MEDSAGE_TLS_CERTIFICATE_FILE", certificate, key)
    if settings.tls_ca_file is not None:
        yield from _unusable("MEDSAGE_TLS_CA_FILE", settings.tls_ca_file, None)


def _unusable(name: str, file: Path, key: Path | None) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if key is None:
            context.load_verify_locations(file)
        else:
            context.load_cert_chain(file, key, password=_no_password)
    except OSError as problem:  # ssl.SSLError is one
        yield f"{name}: can't be used ({problem.strerror or 'no certificate, or not its key'})"


def _no_password() -> str:
    """A key with a password would make the start wait for somebody to type it."""
    return ""
