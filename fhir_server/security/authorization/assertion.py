"""Client authentication by private_key_jwt (SMART App Launch 2.2, "Asymmetric client
authentication"; RFC 7523); pure.

First the header names the key (`read_header`), then the keys are loaded, from the registration or
from the client's own address (key_sets.py), then the assertion is judged (`authenticate`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError
from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.security.authorization.clients import ASSERTION_ALGORITHMS, Client, is_usable
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.records import Assertion, Effects, digest, insert
from fhir_server.security.tokens import UNREADABLE

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_SECONDS = 300
CLOCK_SKEW_SECONDS = 30
_KINDS: Mapping[str, tuple[str, type[RSAKey] | type[ECKey]]] = {
    "RS384": ("RSA", RSAKey),
    "ES384": ("EC", ECKey),
}

Jwk = Mapping[str, Any]


@dataclass(frozen=True)
class Header:
    """What an assertion says of the key that signed it."""

    algorithm: str
    kid: str


@dataclass(frozen=True)
class Proof:
    """What authenticated a client: the record id that its `jti` may take once, and until when it
    has to be remembered. None in `used_id` for a client without an assertion."""

    client: Client
    used_id: str | None = None
    expires: float = 0.0

    def effects(self) -> Effects:
        """Remember the assertion, so that it is not accepted again."""
        if self.used_id is None:
            return Effects()
        return insert(Assertion(self.client.id), self.used_id, self.expires)


def claimed_client(parameters: Parameters, basic: str | None = None) -> str:
    """The client id that a request says it comes from, nothing verified yet. `basic` is the one
    in its Authorization header."""
    named = [parameters["client_id"]] if "client_id" in parameters else []
    assertion = parameters.get("client_assertion")
    if assertion is not None:
        if parameters.get("client_assertion_type") != ASSERTION_TYPE:
            raise InvalidRequestError(f"client_assertion_type must be {ASSERTION_TYPE}")
        named.append(_unverified_subject(assertion))
    if basic is not None:
        named.append(basic)
    if not named:
        raise InvalidClientError("client_assertion or client_id is missing")
    if len(set(named)) > 1:
        raise InvalidClientError("client_id is not the one that authenticates")
    return named[0]


def read_header(assertion: str, client: Client) -> Header:
    """The header of an assertion by the client; InvalidClientError when it can't be one. A `jku`
    must be the address that was registered, and leads nowhere else."""
    try:
        header = jws.extract_compact(assertion.encode()).headers()
    except UNREADABLE as problem:
        raise InvalidClientError("the client_assertion is not a JWT") from problem
    algorithm, kid = header.get("alg"), header.get("kid")
    allowed = [client.signing_alg] if client.signing_alg else [*ASSERTION_ALGORITHMS]
    if algorithm not in allowed:
        raise InvalidClientError(f"the client_assertion is not signed with {' or '.join(allowed)}")
    if not isinstance(kid, str) or not kid:
        raise InvalidClientError("the client_assertion has no kid")
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise InvalidClientError("typ of the client_assertion must be JWT")
    if "jku" in header and (client.jwks_uri is None or header["jku"] != client.jwks_uri):
        raise InvalidClientError("jku is not the jwks_uri that was registered")
    return Header(algorithm, kid)


def matching(keys: Sequence[Jwk], header: Header) -> list[Jwk]:
    """The keys with the header's kid, of the kind that its algorithm needs."""
    kind, _ = _KINDS[header.algorithm]
    return [key for key in keys if key.get("kid") == header.kid and key.get("kty") == kind]


def authenticate(
    assertion: str, keys: Sequence[Jwk], client: Client, *, audiences: Collection[str], now: float
) -> Proof:
    """The proof that the assertion comes from the client, whose public keys these are.
    InvalidClientError otherwise; whether the `jti` is fresh is seen when the proof's effects are
    applied."""
    header = read_header(assertion, client)
    found = matching(keys, header)
    if len(found) != 1:
        raise InvalidClientError("not exactly one key of the client has the kid of the assertion")
    _, kind = _KINDS[header.algorithm]
    try:
        key = kind.import_key(dict(found[0]))
        if not is_usable(key):
            raise ValueError("a key of another kind")
        token = jwt.decode(assertion, key, [header.algorithm])
    except UNREADABLE as problem:
        raise InvalidClientError("the client_assertion is not signed by this client") from problem
    return _judge_claims(token.claims, client, audiences, now)


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
