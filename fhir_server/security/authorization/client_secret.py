"""Secrets of confidential clients (SMART App Launch 2.2, "Client authentication: symmetric").

A secret is 256 random bits made here, never one that somebody chose; so its SHA-256 is as good as
a slow hash, and is all that is kept. Two are good at once: a client takes up the new one while
the old one still works.
"""

import hmac
from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import replace
from urllib.parse import unquote_plus

from fhir_server.security.authorization.clients import MOST_SECRETS, Client
from fhir_server.security.authorization.records import digest


def with_secret(client: Client, secret: str, *, keeps_old: bool = True) -> Client:
    """The client with a new secret; its newest old one stays good, unless it is not to."""
    old = client.secrets[: MOST_SECRETS - 1] if keeps_old else ()
    return replace(client, secrets=(digest(secret), *old))


def is_secret(client: Client, presented: str) -> bool:
    """Whether it is one of the client's secrets; all of them are compared, each in constant
    time."""
    presented_digest = digest(presented)
    found = False
    for kept in client.secrets:
        found |= hmac.compare_digest(kept, presented_digest)
    return found


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Client id and secret of an HTTP Basic header, each form-encoded as RFC 6749 section 2.3.1
    has it; None when the header is none, or can't be read."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (NotBase64, UnicodeDecodeError, ValueError):
        return None
    return (unquote_plus(client_id), unquote_plus(secret)) if colon else None
