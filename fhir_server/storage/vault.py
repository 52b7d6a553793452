"""What lies in a store, sealed with AES-256-GCM under a data key of the store's own.

| bytes | |
|---|---|
| 0 | 1: no JSON begins with it, so that what is not sealed is told apart |
| 1–4 | the number of the data key |
| 5–16 | the nonce, random |
| 17– | ciphertext and tag |

Bound to it are the first five bytes and the content's *place*: type, id and version of a resource,
kind and id of a record. Content that was moved to another place does not open.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_server.storage.master_keys import MasterKeys, UnusableKeys
from fhir_server.storage.port import Stored
from fhir_server.storage.ring import KIND, NONCE_BYTES, Ring, unwrapped

REFRESH_SECONDS = 5.0
"""A writing process looks so often for a new data key."""

PLAIN = 0
"""Stands for no key where content is counted by the keys that seal it."""

JOURNAL = "journal"
_log = logging.getLogger(__name__)
_MARK = b"\x01"
_HEAD_BYTES = 5
_TEXT_AT = _HEAD_BYTES + NONCE_BYTES


class Unreadable(Exception):
    """Content was altered, moved, or is sealed by a key that is not there; the text names its
    place. Nothing of it is given out."""


class Vault:
    """Seals what goes into a store and opens what comes out. Without keys it lets content through
    and refuses what is sealed. Safe to use from several threads."""

    def __init__(
        self, masters: MasterKeys | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.masters = masters
        self._clock = clock
        self._ciphers: Mapping[int, AESGCM] = {}
        self._head = b""
        self._is_strict = False
        self._looked = clock()
        self.ring: Ring | None = None

    def adopt(self, record: Mapping[str, Any] | None) -> None:
        """Go on with the ring of this value of its record. UnusableKeys when it does not go with
        the master keys: a store that is sealed opens with its own alone."""
        self._looked = self._clock()
        if record is None:
            return
        if self.masters is None:
            raise UnusableKeys("the store is encrypted, and no key file is set")
        ring = unwrapped(record, self.masters)
        self._ciphers = {number: AESGCM(each.key) for number, each in ring.keys.items()}
        self._head = _head(ring.active)
        self._is_strict = not ring.takes_plain
        self.ring = ring

    def renew(self, record: Mapping[str, Any] | None) -> None:
        """Adopt the ring while the store is in use; one that is wrapped by a master key that this
        process lacks is left alone, and what it alone could open stays closed."""
        try:
            self.adopt(record)
        except UnusableKeys as problem:
            _log.warning("the store's keys were changed and can't be read: %s", problem)

    @property
    def is_due(self) -> bool:
        """Whether it is time to look for a new data key."""
        return self.ring is not None and self._clock() - self._looked >= REFRESH_SECONDS

    @property
    def active(self) -> int:
        """The number of the key that seals, PLAIN for none."""
        return PLAIN if self.ring is None else self.ring.active

    def seal(self, place: str, content: bytes) -> bytes:
        """The content as it lies at its place."""
        head = self._head
        if not head:
            return content
        nonce = secrets.token_bytes(NONCE_BYTES)
        cipher = self._ciphers[int.from_bytes(head[1:], "big")]
        return head + nonce + cipher.encrypt(nonce, content, head + place.encode())

    def knows(self, sealed: bytes) -> bool:
        """Whether the key is at hand, or none is needed."""
        return key_of(sealed) in self._ciphers or not is_sealed(sealed) or self.ring is None

    def open(self, place: str, sealed: bytes) -> bytes:
        """The content that lies at the place; Unreadable when it can't be had or believed."""
        if not is_sealed(sealed):
            if self._is_strict:
                raise Unreadable(f"{place} is not sealed, in a store where everything is")
            return sealed
        cipher = self._ciphers.get(key_of(sealed))
        if cipher is None:
            raise Unreadable(f"{place} is sealed by data key {key_of(sealed)}, which is not there")
        bound = sealed[:_HEAD_BYTES] + place.encode()
        try:
            return cipher.decrypt(sealed[_HEAD_BYTES:_TEXT_AT], sealed[_TEXT_AT:], bound)
        except (InvalidTag, ValueError):  # ValueError: it was cut short
            raise Unreadable(f"{place} was altered, or moved there") from None


def is_sealed(content: bytes) -> bool:
    """Whether this is what `seal` makes."""
    return content[:1] == _MARK


def key_of(sealed: bytes) -> int:
    """The number of the key, PLAIN where the content is not sealed."""
    return int.from_bytes(sealed[1:_HEAD_BYTES], "big") if is_sealed(sealed) else PLAIN


def _head(number: int) -> bytes:
    return _MARK + number.to_bytes(_HEAD_BYTES - 1, "big")


def place_of(stored: Stored) -> str:
    """The place of a version's body."""
    return body_place(str(stored.key), stored.version)


def body_place(key: str, version: int) -> str:
    """The same for a key as text."""
    return f"resource\x1f{key}/{version}"


def record_place(kind: str, id: str) -> str:
    """The place of a record's value."""
    return f"record\x1f{kind}\x1f{id}"


def is_about_keys(kind: str) -> bool:
    """Whether a record is read before there are keys: the ring, and how far a rotation is."""
    return kind == KIND
