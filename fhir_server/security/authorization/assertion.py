"""Client authentication by private_key_jwt (SMART App Launch 2.2, "Asymmetric client
authentication"; RFC 7523)."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError
from joserfc import jws, jwt
from joserfc.jwk import KeySet

from fhir_server.security.authorization.clients import ASSERTION_ALGORITHMS, Client
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import Assertion, Effects, digest, insert
from fhir_server.security.tokens import UNREADABLE

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_SECONDS = 300
CLOCK_SKEW_SECONDS = 30


@dataclass(frozen=True)
class Proof:
    """What authenticated a client: the record id that its `jti` may take once, and until when it
    has to be remembered. None in `used_id` for a public client."""

    client: Client
    used_id: str | None = None
    expires: float = 0.0

    def effects(self) -> Effects:
        """Remember the assertion, so that it is not accepted again."""
        if self.used_id is None:
            return Effects()
        return insert(Assertion(self.client.id), self.used_id, self.expires)


def claimed_client(parameters: Parameters) -> str:
    """The client id that a token request says it comes from, nothing verified yet."""
    claimed = parameters.get("client_id")
    assertion = parameters.get("client_assertion")
    if assertion is None:
        if claimed is None:
            raise InvalidClientError("client_assertion or client_id is missing")
        return claimed
    if parameters.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidRequestError(f"client_assertion_type must be {ASSERTION_TYPE}")
    subject = _unverified_subject(assertion)
    if claimed is not None and claimed != subject:
        raise InvalidClientError("client_id is not the subject of the client_assertion")
    return subject


def authenticate(
    parameters: Parameters, client: Client | None, *, audiences: Collection[str], now: float
) -> Proof:
    """The proof that the request comes from the client. InvalidClientError otherwise; whether
    the `jti` is fresh is seen when the proof's effects are applied."""
    assertion = parameters.get("client_assertion")
    if client is None:
        raise InvalidClientError("the client is not registered")
    if client.jwks is None:
        if assertion is not None:
            raise InvalidClientError("a public client has no key")
        return Proof(client)
    if assertion is None:
        raise InvalidClientError("client_assertion is missing")
    try:
        keys = KeySet.import_key_set(dict(client.jwks))  # type: ignore[arg-type]
        token = jwt.decode(assertion, _candidates(keys, assertion), [*ASSERTION_ALGORITHMS])
    except UNREADABLE as problem:
        raise InvalidClientError("the client_assertion is not signed by this client") from problem
    return _judge_claims(token.claims, client, audiences, now)


def _candidates(keys: KeySet, assertion: str) -> KeySet:
    """The keys with the assertion's `kid` (which SMART demands); of several with the same, the
    one whose kind fits `alg` is left to the library."""
    header = jws.extract_compact(assertion.encode()).headers()
    found = [key for key in keys.keys if key.kid == header.get("kid")]
    if not found:
        raise ValueError("no key with that kid")
    return KeySet(found)


def _judge_claims(
    claims: dict[str, object], client: Client, audiences: Collection[str], now: float
) -> Proof:
    if claims.get("iss") != client.id or claims.get("sub") != client.id:
        raise InvalidClientError("iss and sub must be the client id")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if len(named) != 1 or named[0] not in audiences:
        raise InvalidClientError("aud must be the token endpoint")
    expires, jti = claims.get("exp"), claims.get("jti")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise InvalidClientError("exp is missing")
    if expires <= now - CLOCK_SKEW_SECONDS:
        raise InvalidClientError("the client_assertion has expired")
    if expires > now + LONGEST_SECONDS + CLOCK_SKEW_SECONDS:
        raise InvalidClientError("exp is more than five minutes ahead")
    for name in ("nbf", "iat"):
        start = claims.get(name, 0)
        if not isinstance(start, int | float) or start > now + CLOCK_SKEW_SECONDS:
            raise InvalidClientError(f"{name} lies in the future")
    if not isinstance(jti, str) or not jti or len(jti) > 500:
        raise InvalidClientError("jti is missing")
    remembered_until = expires + CLOCK_SKEW_SECONDS + 1
    return Proof(client, digest(f"{client.id} {jti}"), remembered_until)


def _unverified_subject(assertion: str) -> str:
    try:
        claims = jwt_claims(assertion)
    except UNREADABLE as problem:
        raise InvalidClientError("the client_assertion is not a JWT") from problem
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise InvalidClientError("the client_assertion has no sub")
    return subject


def jwt_claims(token: str) -> dict[str, object]:
    """The claims of a compact JWT whose signature nobody has checked. ValueError when it has
    none."""
    claims = json.loads(jws.extract_compact(token.encode()).payload)
    if not isinstance(claims, dict):
        raise ValueError("the claims are not an object")
    return claims
