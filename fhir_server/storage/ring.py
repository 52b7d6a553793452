"""The ring of a store's data keys, as a record of the store wrapped by a master key.

Each tenant has a store and so a ring of its own: content of one opens in no other.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_server.storage.master_keys import KEY_BYTES, MasterKeys, UnusableKeys

KIND = "encryption"
"""The kind of the records about encryption itself, which are not sealed."""
RING = "ring"
NONCE_BYTES = 12
_BOUND = b"medsage data keys\x1f"


@dataclass(frozen=True)
class RingKey:
    """A key that seals content, and when it was made."""

    key: bytes
    made: datetime


@dataclass(frozen=True)
class Ring:
    """Data keys by number. The `active` one seals, all open. `takes_plain` says whether content
    that is not sealed at all is believed: until a store that was plain is sealed as a whole."""

    keys: Mapping[int, RingKey]
    active: int
    takes_plain: bool

    def with_new_key(self, now: datetime) -> "Ring":
        """The ring with one key more, which is the active one."""
        number = max(self.keys) + 1
        return replace(self, keys={**self.keys, number: _new_key(now)}, active=number)


def new_ring(now: datetime, *, takes_plain: bool) -> Ring:
    """A ring with one key."""
    return Ring({1: _new_key(now)}, 1, takes_plain)


def _new_key(now: datetime) -> RingKey:
    return RingKey(secrets.token_bytes(KEY_BYTES), now)


def wrapped(ring: Ring, masters: MasterKeys) -> dict[str, Any]:
    """The value of the ring's record."""
    content = {
        "active": ring.active,
        "takesPlain": ring.takes_plain,
        "keys": {
            str(number): [base64.b64encode(each.key).decode(), each.made.isoformat()]
            for number, each in ring.keys.items()
        },
    }
    name, nonce = masters.current, secrets.token_bytes(NONCE_BYTES)
    cipher = AESGCM(masters.keys[name])
    sealed = cipher.encrypt(nonce, json.dumps(content).encode(), _BOUND + name.encode())
    return {"master": name, "wrapped": base64.b64encode(nonce + sealed).decode()}


def unwrapped(value: Mapping[str, Any], masters: MasterKeys) -> Ring:
    """The ring of a record's value. UnusableKeys when it is wrapped by another master key, or
    was altered."""
    name = str(value.get("master"))
    if name not in masters.keys:
        raise UnusableKeys(
            f"the store's keys are wrapped by master key {name}, and the key file has "
            f"{', '.join(masters.keys)}"
        )
    cipher = AESGCM(masters.keys[name])
    try:
        sealed = base64.b64decode(value["wrapped"])
        text = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _BOUND + name.encode())
    except (InvalidTag, KeyError, ValueError):
        raise UnusableKeys("the record of the store's keys was altered") from None
    content = json.loads(text)
    keys = {
        int(number): RingKey(base64.b64decode(key), datetime.fromisoformat(made))
        for number, (key, made) in content["keys"].items()
    }
    return Ring(keys, content["active"], content["takesPlain"])
