"""Whom this process believes when it calls others over TLS."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

MINIMUM: Mapping[str, ssl.TLSVersion] = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


def trusting(ca_file: Path | None, minimum: str) -> ssl.SSLContext:
    """Certificates are judged by the authorities of the file, or by the public ones, and by the
    name that was called; nothing older than `minimum` is spoken."""
    if ca_file is None:
        context = httpx.create_ssl_context(trust_env=False)
    else:
        context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = MINIMUM[minimum]
    return context
