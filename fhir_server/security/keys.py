"""The keys that this server signs with, kept as one record of the store (SMART App Launch 2.2,
"Signing with JWTs"; RFC 7517).

Access tokens are signed with ES256 (small, fast to verify), id_tokens with RS256, the algorithm
that OpenID Connect demands of every server and that SMART names for them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.storage.port import Record, ResourceStore, Transaction, VersionConflict

KIND = "signing-keys"
CURRENT = "current"
ACCESS_ALGORITHM = "ES256"
IDENTITY_ALGORITHM = "RS256"
ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068, not a secret


@dataclass(frozen=True)
class KeyRing:
    """The signing keys of one issuer. `access` signs access tokens, `identity` id_tokens."""

    access: ECKey
    identity: RSAKey

    def public_keys(self) -> dict[str, Any]:
        """The JWKS document: public parts only, each with `kid`, `use` and `alg`."""
        return {"keys": [key.as_dict(private=False) for key in (self.access, self.identity)]}

    def sign_access_token(self, claims: Mapping[str, Any]) -> str:
        """The claims as a signed access token (RFC 9068)."""
        header = {"alg": ACCESS_ALGORITHM, "kid": self.access.kid, "typ": ACCESS_TOKEN_TYPE}
        return jwt.encode(header, dict(claims), self.access, [ACCESS_ALGORITHM])

    def sign_id_token(self, claims: Mapping[str, Any]) -> str:
        """The claims as a signed OpenID id_token."""
        header = {"alg": IDENTITY_ALGORITHM, "kid": self.identity.kid, "typ": "JWT"}
        return jwt.encode(header, dict(claims), self.identity, [IDENTITY_ALGORITHM])


async def open_key_ring(store: ResourceStore) -> KeyRing:
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
    return KeyRing(
        access=ECKey.import_key(record.value["access"]),
        identity=RSAKey.import_key(record.value["identity"]),
    )


async def _insert_once(tx: Transaction, made: dict[str, Any]) -> Record:
    present = await tx.record(KIND, CURRENT)
    if present is not None:
        return present
    record = Record(KIND, CURRENT, made)
    await tx.put_record(record, expected=0)
    return record


def _generate() -> dict[str, Any]:
    access = ECKey.generate_key("P-256", {"use": "sig", "alg": ACCESS_ALGORITHM}, private=True)
    identity = RSAKey.generate_key(2048, {"use": "sig", "alg": IDENTITY_ALGORITHM}, private=True)
    access.ensure_kid()
    identity.ensure_kid()
    return {
        "access": access.as_dict(private=True),
        "identity": identity.as_dict(private=True),
    }
