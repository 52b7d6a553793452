"""Encryption of what lies in the session store: tokens, drafts and images of patients.

A store that many processes share (Redis) sees neither; nor can it put one value in another's place,
because the key's name is part of the seal.
"""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from smart_app.sessions import SessionStore

NONCE_BYTES = 12
LEAST_SECRET_BYTES = 32


class SealedStore:
    """A SessionStore over another one, its values sealed with AES-256-GCM under a key that is
    derived from `secret`. A value that does not open is as good as absent."""

    def __init__(self, store: SessionStore, secret: bytes) -> None:
        if len(secret) < LEAST_SECRET_BYTES:
            raise ValueError(f"the app's secret must have {LEAST_SECRET_BYTES} bytes or more")
        derive = HKDF(SHA256(), 32, salt=None, info=b"medsage app session store")
        self._cipher = AESGCM(derive.derive(secret))
        self._store = store

    async def get(self, key: str) -> bytes | None:
        return self._open(key, await self._store.get(key))

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value, key.encode())
        await self._store.put(key, sealed, seconds)

    async def take(self, key: str) -> bytes | None:
        return self._open(key, await self._store.take(key))

    async def claim(self, key: str, seconds: int) -> bool:
        return await self._store.claim(key, seconds)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    def _open(self, key: str, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], key.encode())
        except (InvalidTag, ValueError):
            return None
