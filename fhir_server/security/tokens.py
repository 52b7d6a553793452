"""Access tokens: who a bearer of one is (RFC 9068; SMART App Launch 2.2, "Access token").

A token is a signed JWT for this FHIR base alone. Those given to a user name the grant that they
came from; the grant's record is looked up on every request, so a sign-out or a revoked family
ends them at once. Tokens of backend services live for minutes and have none: one that was given
back is remembered until it expires.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc.errors import JoseError

from fhir_server.fhir.outcome import login_required
from fhir_server.security.keys import ACCESS_ALGORITHM, ACCESS_TOKEN_TYPE, KeyRing
from fhir_server.security.principal import Principal
from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import ResourceStore

GRANT_KIND = "grant"
REVOKED_KIND = "revoked-token"
"""Tokens without a grant that were given back before they expired, by their `jti`."""
UNREADABLE = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""What decoding a JWT raises on rubbish."""
_REMEMBERED = 10_000
_LONGEST_TOKEN = 16_384


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires: float
    grant: str | None
    kid: str
    jti: str


class TokenVerifier:
    """Turns an Authorization header into a Principal. `issuer` made the tokens, `audience` is the
    FHIR base that they must be for."""

    def __init__(
        self,
        store: ResourceStore,
        keys: KeyRing,
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._seen: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, authorization: str | None) -> Principal:
        """The caller; FhirError 401 when there is no token, or it is expired, foreign, altered
        or revoked."""
        token = _bearer_token(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._seen.get(digest)
        if verified is None:
            verified = await self._check(token)
            self._remember(digest, verified)
        await self._keys.refresh()
        if not self._keys.has(verified.kid):
            self._seen.pop(digest, None)
            raise login_required("the access token is signed with a key that was retired")
        if verified.expires <= self._clock().timestamp():
            self._seen.pop(digest, None)
            raise login_required("the access token has expired")
        if await self._is_ended(verified):
            self._seen.pop(digest, None)
            raise login_required("the access token was revoked or its session has ended")
        return verified.principal

    async def _is_ended(self, verified: _Verified) -> bool:
        if verified.grant is not None:
            return await self._store.record(GRANT_KIND, verified.grant) is None
        return await self._store.record(REVOKED_KIND, verified.jti) is not None

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._seen[digest] = verified
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    async def _check(self, token: str) -> _Verified:
        try:
            decoded = await self._keys.read(token, ACCESS_ALGORITHM)
        except UNREADABLE as problem:
            raise login_required("the access token is not one of this server") from problem
        claims = decoded.claims
        if decoded.header.get("typ") != ACCESS_TOKEN_TYPE or claims.get("iss") != self._issuer:
            raise login_required("the access token is not one of this server")
        if claims.get("aud") != self._audience:
            raise login_required("the access token is for another server")
        return _Verified(
            principal_from(claims),
            float(claims["exp"]),
            claims.get("grant"),
            str(decoded.header["kid"]),
            str(claims["jti"]),
        )


def principal_from(claims: Mapping[str, Any]) -> Principal:
    """The principal that the claims of an access token describe."""
    return Principal(
        subject=claims["sub"],
        client_id=claims["client_id"],
        name=claims["name"],
        roles=frozenset(claims["roles"]),
        fhir_user=claims.get("fhirUser"),
        scopes=claims["scope"],
        patient=claims.get("patient"),
        encounter=claims.get("encounter"),
        session=claims.get("sid"),
        tenant=claims.get("tenant", DEFAULT),
        grant=claims.get("grant"),
        expires=float(claims["exp"]) if "exp" in claims else None,
    )


def _bearer_token(authorization: str | None) -> str:
    if not authorization:
        raise login_required("an access token is needed (Authorization: Bearer …)")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise login_required("the Authorization header must be: Bearer <access token>")
    if len(token) > _LONGEST_TOKEN or not token.isascii():
        raise login_required("the access token is not one of this server")
    return token
