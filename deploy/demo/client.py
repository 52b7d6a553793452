"""The service client of the demonstration: public knowledge, registered in development alone."""

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

CLIENT_ID = "medsage-demo"
REDIRECT_URI = "http://127.0.0.1/medsage-demo"
SCOPES = "openid fhirUser user/*.cruds user/AuditEvent.c system/*.cruds system/AuditEvent.crs"


def demo_key() -> dict[str, Any]:
    """The client's private key, the same everywhere: it protects nothing."""
    digest = hashlib.sha384(b"MedSAGE demonstration client").digest()
    # One bit less than the order of the curve, and never zero.
    scalar = int.from_bytes(digest, "big") >> 1 | 1
    private = ec.derive_private_key(scalar, ec.SECP384R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = ECKey.import_key(pem)
    return {**key.as_dict(private=True), "kid": CLIENT_ID, "use": "sig", "alg": "ES384"}
