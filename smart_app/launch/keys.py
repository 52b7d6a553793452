"""What the app signs with its private key, and how it checks signatures of the issuer."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

ASSERTION_SECONDS = 240
LEEWAY_SECONDS = 60
OUR_ALGORITHM = "ES384"
ISSUER_ALGORITHMS = ["ES256", "ES384", "RS256", "RS384", "PS256", "PS384"]


class BadIdentity(Exception):
    """An id_token that must not be believed; the text says which check failed."""


class ClockSkew(BadIdentity):
    """An id_token whose times don't agree with our clock."""


def client_assertion(
    client_id: str, private_jwk: Mapping[str, Any], *, audience: str, now: datetime
) -> str:
    """A `private_key_jwt` (RFC 7523) for one request to the token endpoint `audience`."""
    key = ECKey.import_key(dict(private_jwk))
    issued = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": str(uuid.uuid4()),
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
    }
    return jwt.encode(_header(private_jwk), claims, key, algorithms=[OUR_ALGORITHM])


def verified_identity(
    id_token: str, jwks: Mapping[str, Any], *, expected: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    """The claims of an id_token whose signature, `iss`, `aud` and `nonce` are as `expected`."""
    try:
        keys = KeySet.import_key_set({"keys": list(jwks["keys"])})
        claims = jwt.decode(id_token, keys, algorithms=ISSUER_ALGORITHMS).claims
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise BadIdentity("its signature can't be verified") from error
    audience = claims.get("aud")
    if expected["aud"] not in (audience if isinstance(audience, list) else [audience]):
        raise BadIdentity("it was made for another client")
    for claim in ("iss", "nonce"):
        if claims.get(claim) != expected[claim]:
            raise BadIdentity(f"its {claim} is not the expected one")
    _check_times(claims, now.timestamp())
    return claims


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    expires, issued = claims.get("exp"), claims.get("iat")
    if not isinstance(expires, int | float) or not isinstance(issued, int | float):
        raise BadIdentity("it has no times")
    if expires + LEEWAY_SECONDS < now or issued - LEEWAY_SECONDS > now:
        raise ClockSkew("its times don't agree with our clock")


def signature_over(
    resource: Mapping[str, Any], private_jwk: Mapping[str, Any], *, signer: str, when: str
) -> str:
    """A compact JWS that binds signer and time to the resource's content.

    Its payload carries the SHA-256 of the resource without `meta` and `text`, as JSON with sorted
    keys and no spaces, so anybody with our public key can check it later.
    """
    content = {k: v for k, v in resource.items() if k not in {"meta", "text"}}
    canonical = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
    )
    payload = {
        "resource": f"{resource['resourceType']}/{resource['id']}",
        "sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "who": signer,
        "when": when,
    }
    key = ECKey.import_key(dict(private_jwk))
    return jws.serialize_compact(
        _header(private_jwk), json.dumps(payload), key, algorithms=[OUR_ALGORITHM]
    )


def _header(private_jwk: Mapping[str, Any]) -> dict[str, Any]:
    header = {"alg": OUR_ALGORITHM, "typ": "JWT"}
    if "kid" in private_jwk:
        header["kid"] = private_jwk["kid"]
    return header
