"""The master keys of an installation: they never seal content, only the ring of a store's data
keys. They lie in a file that the operator keeps apart from the store."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEY_BYTES = 32


class UnusableKeys(ValueError):
    """The keys can't be used, or are not those of the store; the text names the reason and no
    key."""


@dataclass(frozen=True)
class MasterKeys:
    """Keys by their name, the one that wraps first; the others still unwrap."""

    keys: Mapping[str, bytes]

    @property
    def current(self) -> str:
        """The name of the key that wraps."""
        return next(iter(self.keys))


def name_of(key: bytes) -> str:
    """A key's name, made from it: a file can't call it by another."""
    return hashlib.sha256(b"medsage master key" + key).hexdigest()[:12]


def new_master_key() -> str:
    """A line for the file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_master_keys(path: Path) -> MasterKeys:
    """The keys of a file: 32 bytes in base64 on each line, the current one first; empty lines and
    those that begin with # count for nothing. UnusableKeys when it can't be read or is not that."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise UnusableKeys(f"{path} can't be read: {type(problem).__name__}") from None
    return master_keys(
        [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    )


def master_keys(lines: Sequence[str]) -> MasterKeys:
    """The keys of these lines. UnusableKeys when there is none or one is no key."""
    if not lines:
        raise UnusableKeys("there is no master key")
    keys = [_key(number, line) for number, line in enumerate(lines, 1)]
    return MasterKeys({name_of(key): key for key in keys})


def _key(number: int, line: str) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except binascii.Error:
        raise UnusableKeys(f"master key {number} is not base64") from None
    if len(key) != KEY_BYTES:
        raise UnusableKeys(f"master key {number} has {len(key)} bytes and not {KEY_BYTES}")
    if len(set(key)) < KEY_BYTES // 4:
        raise UnusableKeys(f"master key {number} is not random")
    return key
