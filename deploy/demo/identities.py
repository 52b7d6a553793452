"""Users and the service client of the demonstration. They are public knowledge, and therefore
registered in the development profile alone."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from deploy.keys import Jwk
from fhir_server.security.authorization.users import User

PASSWORD = "malaria-ward-7"  # noqa: S105 - printed at every start of the demonstration
CLIENT_ID = "medsage-demo"
REDIRECT_URI = "http://127.0.0.1/medsage-demo"
SCOPES = "openid fhirUser user/*.cruds user/AuditEvent.c system/*.cruds system/AuditEvent.crs"

USERS = (
    User("dr.amina", "Dr Amina Njoroge", frozenset({"doctor"}), "Practitioner/dr-amina"),
    User("dr.kofi", "Dr Kofi Mensah", frozenset({"doctor"}), "Practitioner/dr-kofi"),
    User("auditor", "Grace Wanjiru", frozenset({"auditor"}), "Practitioner/auditor"),
    User("admin", "Samuel Otieno", frozenset({"admin"}), "Practitioner/admin"),
)


def demo_key() -> Jwk:
    """The demonstration client's private key, the same everywhere: it protects nothing."""
    digest = hashlib.sha384(b"MedSAGE demonstration client").digest()
    # One bit less than the order of the curve, and never zero.
    scalar = int.from_bytes(digest, "big") >> 1 | 1
    private = ec.derive_private_key(scalar, ec.SECP384R1())
    key = ECKey.import_key(private_pem(private))
    return {**key.as_dict(private=True), "kid": CLIENT_ID, "use": "sig", "alg": "ES384"}


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS #8 PEM, unencrypted."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
