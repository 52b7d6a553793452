"""The keys of backups. A line of the key file never seals content: keys that are derived from it
(HKDF, RFC 5869) wrap the key of each backup (AES-256-GCM) and sign its manifest (Ed25519, RFC
8032).
"""

import base64
import secrets
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fhir_server.backup.problems import Altered, WrongKey
from fhir_server.storage.master_keys import KEY_BYTES, MasterKeys

NONCE_BYTES = 12


@dataclass(frozen=True)
class SealKeys:
    """The keys of a key file; the first one seals, all open."""

    keys: MasterKeys

    @property
    def current(self) -> str:
        """The name of the key that seals."""
        return self.keys.current

    @cached_property
    def names(self) -> str:
        """The names of all keys, for the operator."""
        return ", ".join(self.keys.keys)

    def wrap(self, key: bytes, bound: bytes) -> str:
        """The key of a backup as its manifest holds it; `bound` is what it belongs to."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        cipher = AESGCM(self._derived(self.current, b"wrapping"))
        return base64.b64encode(nonce + cipher.encrypt(nonce, key, bound)).decode()

    def unwrap(self, name: str, wrapped: str, bound: bytes) -> bytes:
        """The inverse of `wrap`; WrongKey or Altered."""
        cipher = AESGCM(self._derived(name, b"wrapping"))
        try:
            sealed = base64.b64decode(wrapped, validate=True)
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise Altered("its key was altered") from None

    def sign(self, content: bytes) -> str:
        """The signature of the current key."""
        return base64.b64encode(self._signer(self.current).sign(content)).decode()

    def check(self, name: str, content: bytes, signature: str) -> None:
        """WrongKey when that key is not there, Altered when it has not signed the content."""
        public = self._signer(name).public_key()
        try:
            public.verify(base64.b64decode(signature, validate=True), content)
        except (InvalidSignature, ValueError):
            raise Altered("its signature is not that of its content") from None

    def _signer(self, name: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._derived(name, b"signature"))

    def _derived(self, name: str, use: bytes) -> bytes:
        key = self.keys.keys.get(name)
        if key is None:
            raise WrongKey(f"it is sealed by key {name}, and the key file has {self.names}")
        return HKDF(SHA256(), KEY_BYTES, None, b"medsage backup " + use).derive(key)


@dataclass(frozen=True)
class PartSeal:
    """Seals the parts of one backup under a key of its own. Bound to each part are the backup's
    name and the part's number, so that none opens in another place."""

    key: bytes
    backup: str

    def seal(self, number: int, content: bytes) -> bytes:
        """A part as it lies at its place. No number may be used twice."""
        nonce = number.to_bytes(NONCE_BYTES, "big")
        return AESGCM(self.key).encrypt(nonce, content, self._bound(number))

    def open(self, number: int, sealed: bytes) -> bytes:
        """The content of a part; Altered when it is not that part."""
        nonce = number.to_bytes(NONCE_BYTES, "big")
        try:
            return AESGCM(self.key).decrypt(nonce, sealed, self._bound(number))
        except (InvalidTag, ValueError):
            raise Altered("it was altered, or moved there") from None

    def _bound(self, number: int) -> bytes:
        return f"medsage backup part\x1f{self.backup}\x1f{number}".encode()


def new_part_seal(backup: str) -> PartSeal:
    """The seal of a new backup."""
    return PartSeal(secrets.token_bytes(KEY_BYTES), backup)
