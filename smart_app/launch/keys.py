"""What the app signs with its private key, and how it checks signatures of the issuer."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

ASSERTION_SECONDS = 240
LEEWAY_SECONDS = 60
OUR_ALGORITHM = "ES384"
RSA_ALGORITHM = "RS384"
ISSUER_ALGORITHMS = ["ES256", "ES384", "RS256", "RS384", "PS256", "PS384"]


class BadIdentity(Exception):
    """An id_token that must not be believed; the text says which check failed."""


class Unprovable(BadIdentity):
    """An id_token that nobody's keys can be found for."""


class ClockSkew(BadIdentity):
    """An id_token whose times don't agree with our clock."""


def client_assertion(
    client_id: str, private_jwk: Mapping[str, Any], *, audience: str, now: datetime
) -> str:
    """A `private_key_jwt` (RFC 7523) for one request to the token endpoint `audience`."""
    issued = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": str(uuid.uuid4()),
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
    }
    header = _header(private_jwk)
    return jwt.encode(header, claims, _key(private_jwk), algorithms=[header["alg"]])


def public_part(private_jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The public JWK, for the key set that others check our assertions with. ValueError when it
    is no private key of a kind that SMART uses (EC P-384, RSA of 2048 bits or more)."""
    try:
        key = _key(private_jwk)
        is_sound = key.is_private and (
            key.public_key.key_size >= 2048
            if isinstance(key, RSAKey)
            else key.curve_name == "P-384"
        )
        if is_sound:
            return dict(key.as_dict(private=False))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError("is no JWK") from error
    raise ValueError("must be a private EC P-384 or RSA (2048 bits) key")


def claimed_issuer(id_token: object) -> str:
    """The `iss` of an id_token, nothing verified yet; "" when it has none."""
    try:
        claims = json.loads(jws.extract_compact(str(id_token).encode()).payload)
        return str(claims.get("iss", ""))
    except (JoseError, ValueError, AttributeError):
        return ""


def verified_identity(
    id_token: str, jwks: Mapping[str, Any], *, expected: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    """The claims of an id_token whose signature, `iss`, `aud` and `nonce` are as `expected`."""
    try:
        keys = KeySet([*_usable(jwks["keys"])])
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


def _usable(keys: Iterable[Any]) -> Iterator[RSAKey | ECKey]:
    # A record system's key set may hold keys of other kinds, for other uses.
    for key in keys:
        with suppress(JoseError, ValueError, TypeError, KeyError):
            if key.get("use", "sig") == "sig":
                yield _key(key)


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
    header = _header(private_jwk)
    return jws.serialize_compact(
        header, json.dumps(payload), _key(private_jwk), algorithms=[header["alg"]]
    )


def _header(private_jwk: Mapping[str, Any]) -> dict[str, Any]:
    algorithm = RSA_ALGORITHM if private_jwk.get("kty") == "RSA" else OUR_ALGORITHM
    header = {"alg": algorithm, "typ": "JWT"}
    if "kid" in private_jwk:
        header["kid"] = private_jwk["kid"]
    return header


def _key(private_jwk: Mapping[str, Any]) -> ECKey | RSAKey:
    kind = RSAKey if private_jwk.get("kty") == "RSA" else ECKey
    return kind.import_key(dict(private_jwk))
