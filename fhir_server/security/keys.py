"""The keys that this server signs with, kept as one record of the store (SMART App Launch 2.2,
"Signing with JWTs"; RFC 7517).

Access tokens are signed with ES256 (small, fast to verify), id_tokens with RS256, the algorithm
that OpenID Connect demands of every server and that SMART names for them. Which of several keys
signs is decided in signing_keys.py; every process reads the record again after a few seconds, so
a rotation needs no restart.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import extract_compact

from fhir_server.security.signing_keys import (
    Keys,
    SigningKey,
    keys_from,
    retired,
    rotated,
    signer,
    value_of,
)
from fhir_server.storage.port import Record, ResourceStore, Transaction, VersionConflict

KIND = "signing-keys"
CURRENT = "current"
ACCESS_ALGORITHM = "ES256"
IDENTITY_ALGORITHM = "RS256"
ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068, not a secret
REREAD_SECONDS = 10
UNKNOWN_KEY_SECONDS = 1
"""The record is read again after this when a token names a key that is not known."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Read:
    """The record as it was read, with its keys ready to use."""

    revision: int
    keys: Keys
    loaded: Mapping[str, ECKey | RSAKey]


class KeyRing:
    """The signing keys of one issuer, as the store had them a moment ago."""

    def __init__(self, store: ResourceStore, record: Record, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._read = _read(record)
        self._looked = self._now()

    @property
    def access(self) -> ECKey:
        """The key that signs access tokens now."""
        key = self._read.loaded[signer(self._read.keys, "access", self._now()).kid]
        return key if isinstance(key, ECKey) else _never(key)

    @property
    def identity(self) -> RSAKey:
        """The key that signs id_tokens now."""
        key = self._read.loaded[signer(self._read.keys, "identity", self._now()).kid]
        return key if isinstance(key, RSAKey) else _never(key)

    async def refresh(self, after_seconds: float = REREAD_SECONDS) -> None:
        """Look at the record again, if that was not done within the last seconds: before
        anything is signed, verified or published."""
        now = self._now()
        if now - self._looked < after_seconds:
            return
        self._looked = now
        record = await self._store.record(KIND, CURRENT)
        if record is not None and record.revision != self._read.revision:
            self._read = _read(record)

    def has(self, kid: str) -> bool:
        """Whether what this key signed is still to be believed."""
        now = self._now()
        return any(key.kid == kid and key.is_good(now) for key in self._read.keys)

    def public_keys(self) -> dict[str, Any]:
        """The JWKS document: public parts only, each with `kid`, `use` and `alg`; the keys that
        will sign soon and those that still verify among them."""
        return {
            "keys": [
                key.as_dict(private=False)
                for kid, key in self._read.loaded.items()
                if self.has(kid)
            ]
        }

    def sign_access_token(self, claims: Mapping[str, Any]) -> str:
        """The claims as a signed access token (RFC 9068)."""
        key = self.access
        header = {"alg": ACCESS_ALGORITHM, "kid": key.kid, "typ": ACCESS_TOKEN_TYPE}
        return jwt.encode(header, dict(claims), key, [ACCESS_ALGORITHM])

    def sign_id_token(self, claims: Mapping[str, Any]) -> str:
        """The claims as a signed OpenID id_token."""
        key = self.identity
        header = {"alg": IDENTITY_ALGORITHM, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, dict(claims), key, [IDENTITY_ALGORITHM])

    async def read(self, token: str, algorithm: str) -> jwt.Token:
        """A token that one of the keys signed with the algorithm. JoseError or ValueError when
        none did."""
        await self.refresh()
        kid = extract_compact(token.encode()).headers().get("kid")
        if not self.has(str(kid)):
            await self.refresh(UNKNOWN_KEY_SECONDS)
        if not self.has(str(kid)):
            raise ValueError("signed with an unknown key")
        return jwt.decode(token, self._read.loaded[str(kid)], [algorithm])

    def _now(self) -> float:
        return self._clock().timestamp()


async def open_key_ring(store: ResourceStore, clock: Callable[[], datetime] = _now) -> KeyRing:
    """The store's keys, made on the first call. Of several processes that start at once, the
    first insert wins and the others read what it wrote."""
    record = await store.record(KIND, CURRENT)
    if record is None:
        made = await asyncio.to_thread(_generate)
        try:
            record = await store.transaction(lambda tx: _insert_once(tx, made))
        except VersionConflict:
            record = await store.record(KIND, CURRENT)
    if record is None:
        raise RuntimeError("the signing keys were removed while the server started")
    return KeyRing(store, record, clock)


async def generate_keys() -> Keys:
    """A fresh key for each use."""
    return await asyncio.to_thread(_generate)


async def read_keys(store: ResourceStore) -> Keys:
    """The keys in the store; none before its first server has started."""
    record = await store.record(KIND, CURRENT)
    return () if record is None else keys_from(record.value)


async def rotate_keys(tx: Transaction, made: Keys, *, now: float, longest_token: int) -> Keys:
    """Publish new keys, which sign a while later; NotRotatable when that can't be done now."""
    record = await _present(tx)
    keys = rotated(keys_from(record.value), made, now=now, longest_token=longest_token)
    await tx.put_record(Record(KIND, CURRENT, value_of(keys)), record.revision)
    return keys


async def retire_key(tx: Transaction, kid: str, made: Keys, *, now: float) -> Keys:
    """Take a key out at once; NotRotatable when there is no such key."""
    record = await _present(tx)
    keys = retired(keys_from(record.value), kid, made, now=now)
    await tx.put_record(Record(KIND, CURRENT, value_of(keys)), record.revision)
    return keys


async def _present(tx: Transaction) -> Record:
    record = await tx.record(KIND, CURRENT)
    # An empty value has no keys, so each change says itself that there is nothing to change.
    return record if record is not None else Record(KIND, CURRENT, {"keys": []}, revision=0)


async def _insert_once(tx: Transaction, made: Keys) -> Record:
    present = await tx.record(KIND, CURRENT)
    if present is not None:
        return present
    record = Record(KIND, CURRENT, value_of(made))
    await tx.put_record(record, expected=0)
    return record


def _generate() -> Keys:
    access = ECKey.generate_key("P-256", {"use": "sig", "alg": ACCESS_ALGORITHM}, private=True)
    identity = RSAKey.generate_key(2048, {"use": "sig", "alg": IDENTITY_ALGORITHM}, private=True)
    access.ensure_kid()
    identity.ensure_kid()
    return (
        SigningKey("access", dict(access.as_dict(private=True))),
        SigningKey("identity", dict(identity.as_dict(private=True))),
    )


def _read(record: Record) -> _Read:
    keys = keys_from(record.value)
    kinds: Mapping[str, type[ECKey] | type[RSAKey]] = {"access": ECKey, "identity": RSAKey}
    return _Read(
        record.revision, keys, {key.kid: kinds[key.use].import_key(key.jwk) for key in keys}
    )


def _never(key: object) -> Any:
    raise TypeError(f"a signing key of the wrong kind: {type(key).__name__}")
