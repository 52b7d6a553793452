"""The claims of tokens and the token response (RFC 9068; OpenID Connect Core section 2; SMART App
Launch 2.2, "Access token response" and "Launch context arrives with your access token")."""

import base64
import hashlib
from collections.abc import Collection
from typing import Any

from fhir_server.security.authorization.context import context_parameters
from fhir_server.security.authorization.grants import Tokens
from fhir_server.security.authorization.users import User
from fhir_server.security.keys import KeyRing
from fhir_server.security.scopes import parse_scopes
from fhir_server.security.tenants import DEFAULT


def token_response(
    tokens: Tokens, keys: KeyRing, *, issuer: str, audience: str, now: float, token_id: str
) -> dict[str, Any]:
    """The JSON that the client is answered, with freshly signed tokens."""
    response: dict[str, Any] = {
        "access_token": keys.sign_access_token(
            _access_claims(tokens, issuer=issuer, audience=audience, now=now) | {"jti": token_id}
        ),
        "token_type": "Bearer",
        "expires_in": tokens.seconds,
        "scope": tokens.scope,
    }
    if tokens.refresh_token is not None:
        response["refresh_token"] = tokens.refresh_token
    if tokens.grant is not None:
        response |= context_parameters(tokens.grant, issuer)
    if tokens.is_first and "openid" in parse_scopes(tokens.scope).contexts:
        claims = _identity_claims(tokens, issuer=issuer, audience=audience, now=now)
        claims["at_hash"] = access_token_hash(response["access_token"])
        response["id_token"] = keys.sign_id_token(claims)
    return response


def access_token_hash(access_token: str) -> str:
    """`at_hash` (OpenID Connect Core section 3.1.3.6): the left half of the SHA-256, as RS256
    asks, which binds the id_token to the access token beside it."""
    half = hashlib.sha256(access_token.encode("ascii")).digest()[:16]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode()


def person_claims(user: User, contexts: Collection[str], fhir_base: str) -> dict[str, Any]:
    """What the granted scopes say of the person, in the id_token and at userinfo."""
    claims: dict[str, Any] = {}
    if set(contexts) & {"fhirUser", "profile"}:
        claims["name"] = user.name
        if user.fhir_user is not None:
            claims["fhirUser"] = f"{fhir_base}/{user.fhir_user}"
    return claims


def _access_claims(tokens: Tokens, *, issuer: str, audience: str, now: float) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "client_id": tokens.client.id,
        "sub": tokens.client.id,
        "name": tokens.client.name,
        "roles": [],
        "scope": tokens.scope,
        "iat": int(now),
        "exp": int(now) + tokens.seconds,
    }
    tenant = tokens.client.tenant if tokens.user is None else tokens.user.tenant
    if tenant != DEFAULT:
        claims["tenant"] = tenant
    if tokens.user is None or tokens.grant is None:
        return claims
    optional = {
        "fhirUser": tokens.user.fhir_user,
        "patient": tokens.grant.patient,
        "encounter": tokens.grant.encounter,
        "sid": tokens.grant.session,
    }
    return {
        **claims,
        "sub": tokens.user.id,
        "name": tokens.user.name,
        "roles": sorted(tokens.user.roles),
        "grant": tokens.grant_id,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _identity_claims(tokens: Tokens, *, issuer: str, audience: str, now: float) -> dict[str, Any]:
    if tokens.user is None or tokens.grant is None:
        raise ValueError("an id_token is about a user")
    contexts = parse_scopes(tokens.scope).contexts
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": tokens.client.id,
        "sub": tokens.user.id,
        "iat": int(now),
        "exp": int(now) + tokens.seconds,
        "auth_time": int(tokens.grant.signed_in),
    }
    if tokens.grant.nonce is not None:
        claims["nonce"] = tokens.grant.nonce
    if tokens.grant.session is not None:
        claims["sid"] = tokens.grant.session
    return claims | person_claims(tokens.user, contexts, audience)
