"""Which passwords are taken (NIST SP 800-63B-4 section 3.1.1.2): by length and by what is known
to be broken; no rules of composition, no expiry.

The list of broken passwords is a file as haveibeenpwned.com gives it to download: lines of
`SHA-1:count`, sorted. It is searched where it lies and never loaded.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from fhir_server.security.authorization.users import (
    LONGEST_PASSWORD,
    PasswordHash,
    User,
    hash_password,
)

_LINE = re.compile(rb"([0-9A-Fa-f]{10,40})(?::\d+)?\r?")
_LONGEST_LINE = 128
_NTLM_LENGTH = 32


class WeakPassword(ValueError):
    """A password that is not taken; the text says why, in words for its owner."""


class UnusableList(ValueError):
    """The list of broken passwords can't be read as one."""


@dataclass(frozen=True)
class PasswordRules:
    """What new passwords must be: at least `shortest` characters, and not on the list."""

    shortest: int = 12
    broken: "BrokenPasswords | None" = None

    def check(self, password: str, user: User) -> None:
        """WeakPassword when it is not good. Reads a file: call it in a thread."""
        if len(password) < self.shortest:
            raise WeakPassword(f"A password needs at least {self.shortest} characters")
        if len(password) > LONGEST_PASSWORD:
            raise WeakPassword(f"A password has at most {LONGEST_PASSWORD} characters")
        if password.casefold() in {user.id, user.name.casefold()} or len(set(password)) < 4:
            raise WeakPassword("This password is too easy to guess")
        if self.broken is not None and password in self.broken:
            raise WeakPassword("This password is known from a breach; choose another")

    def hashed(self, password: str, user: User) -> PasswordHash:
        """The hash of a password that is good; WeakPassword otherwise. Call it in a thread."""
        self.check(password, user)
        return hash_password(password)


class BrokenPasswords:
    """A sorted file of SHA-1 hashes, or of their first ten digits or more, with counts."""

    def __init__(self, path: Path) -> None:
        """UnusableList when the file is absent, or not a list of SHA-1 hashes in order."""
        self._path = path
        try:
            with path.open("rb") as file:
                lines = [file.readline(_LONGEST_LINE) for _ in range(100)]
        except OSError as problem:
            raise UnusableList(f"{path} can't be read") from problem
        hashes = [_hash_in(line) for line in lines if line]
        if not hashes or hashes != sorted(hashes):
            raise UnusableList(f"{path} must have lines of HASH:count, sorted by hash")
        if len(hashes[0]) == _NTLM_LENGTH:
            raise UnusableList(f"{path} has NTLM hashes; the SHA-1 list is needed")

    def __contains__(self, password: str) -> bool:
        """Whether the list has the password: some forty reads of a line."""
        wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
        with self._path.open("rb") as file:
            low, high = 0, file.seek(0, os.SEEK_END)
            while low < high:
                middle = (low + high) // 2
                file.seek(max(0, middle - 1))
                if middle:
                    file.readline(_LONGEST_LINE)  # to the start of the next line
                line = file.readline(_LONGEST_LINE)
                listed = _hash_in(line) if line else b""
                if listed and wanted.startswith(listed):
                    return True
                if not listed or listed > wanted:
                    high = middle
                else:
                    low = file.tell()
        return False


def _hash_in(line: bytes) -> bytes:
    found = _LINE.fullmatch(line.rstrip(b"\n"))
    if found is None:
        raise UnusableList("a line of the list of broken passwords is not HASH:count")
    return found[1].upper()
