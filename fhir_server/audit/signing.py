"""ES384 signatures (RFC 7518 §3.4) of audit blocks, with keys as JWKs (RFC 7517)."""

import base64
import hashlib
import json
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA384

Jwk = dict[str, str]

_SIZE = 48
_PUBLIC = ("crv", "kty", "x", "y")


@dataclass(frozen=True)
class BlockSigner:
    """Signs with one private key; `public_jwk` is what a verifier needs."""

    private_key: ec.EllipticCurvePrivateKey
    public_jwk: Jwk

    @property
    def key_id(self) -> str:
        return self.public_jwk["kid"]

    def sign(self, content: bytes) -> str:
        """The signature as base64url of r and s."""
        r, s = decode_dss_signature(self.private_key.sign(content, ec.ECDSA(SHA384())))
        return _text(r) + _text(s)


def new_private_jwk() -> Jwk:
    """A fresh P-384 key, private part included."""
    key = ec.generate_private_key(ec.SECP384R1())
    return _public_jwk(key) | {"d": _text(key.private_numbers().private_value)}


def signer(private_jwk: Jwk) -> BlockSigner:
    """The signer of a private JWK; ValueError when it is not a P-384 key with its private part."""
    if "d" not in private_jwk:
        raise ValueError("the audit key has no private part")
    numbers = ec.EllipticCurvePrivateNumbers(_number(private_jwk["d"]), _numbers(private_jwk))
    key = numbers.private_key()
    return BlockSigner(key, _public_jwk(key))


def is_signed(content: bytes, signature: str, public_jwk: Jwk) -> bool:
    """Whether `signature` over `content` was made with the key."""
    try:
        raw = base64.urlsafe_b64decode(signature)
        r, s = int.from_bytes(raw[:_SIZE]), int.from_bytes(raw[_SIZE:])
        key = _numbers(public_jwk).public_key()
        key.verify(encode_dss_signature(r, s), content, ec.ECDSA(SHA384()))
    except (InvalidSignature, ValueError):
        return False
    return True


def thumbprint(jwk: Jwk) -> str:
    """The key's name: its SHA-256 thumbprint (RFC 7638)."""
    required = {name: jwk[name] for name in _PUBLIC}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _public_jwk(key: ec.EllipticCurvePrivateKey) -> Jwk:
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-384", "x": _text(numbers.x), "y": _text(numbers.y)}
    return jwk | {"alg": "ES384", "use": "sig", "kid": thumbprint(jwk)}


def _numbers(jwk: Jwk) -> ec.EllipticCurvePublicNumbers:
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-384"):
        raise ValueError("the audit key is not an EC key on P-384")
    return ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), ec.SECP384R1())


def _text(number: int) -> str:
    # 48 bytes are 64 characters of base64, so no padding arises.
    return base64.urlsafe_b64encode(number.to_bytes(_SIZE)).decode()


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text))
