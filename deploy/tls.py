"""TLS of a process: whom it believes when it calls others, and how it is called itself."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from fhir_server.rest.middleware import STRICT_TRANSPORT, Headers
from fhir_server.settings import Settings
from fhir_server.tls import MINIMUM, trusting


def calling(settings: Settings) -> ssl.SSLContext:
    """For HTTPS calls, by the authorities of the settings."""
    return trusting(settings.tls_ca_file, settings.tls_minimum)


def called(config: uvicorn.Config, settings: Settings) -> None:
    """Speak TLS with this process' own certificate, where it has one."""
    if settings.tls_certificate_file is None:
        return
    config.ssl_certfile = settings.tls_certificate_file
    config.ssl_keyfile = settings.tls_key_file
    config.load()
    if config.ssl is None:
        raise ValueError("uvicorn made no TLS context of a certificate")
    config.ssl.minimum_version = MINIMUM[settings.tls_minimum]


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
