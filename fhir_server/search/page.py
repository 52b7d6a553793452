"""Sealed cursors: the place of a page, readable by nobody but the server that made it."""

import base64
import binascii
import hashlib
import os

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_server.fhir.outcome import bad_parameter

After = tuple[str | None, ...]
"""Sort values (None where missing) and the id of the last match of a page."""

_NONCE_BYTES = 12


class CursorSealer:
    """Encrypts the place of a page and binds it to its caller and query.

    Sort values are content of resources and must not show in a URL; a cursor that was made for
    another caller, other scopes or another query does not open.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hashlib.sha256(b"medsage search cursor" + key).digest())

    def seal(self, after: After, binding: str) -> str:
        """The cursor as URL-safe text."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(after), binding.encode())
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, text: str, binding: str) -> After:
        """The place that was sealed; FhirError 400 when it is not ours or not for this use."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            opened = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], binding.encode())
        except (binascii.Error, ValueError, InvalidTag):
            raise bad_parameter(
                "_cursor: not a cursor of this search for this caller; start again without it"
            ) from None
        return tuple(orjson.loads(opened))
