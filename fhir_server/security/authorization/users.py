"""People who sign in, and their passwords (argon2id)."""

from dataclasses import dataclass
from functools import cache
from secrets import token_urlsafe
from typing import NewType

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhir_server.security.roles import ROLES
from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import Record, Transaction

KIND = "user"
PEOPLES_ROLES = frozenset(ROLES) - {"service"}
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 256  # argon2 takes more; the limit keeps a login from being a way to burn CPU

PasswordHash = NewType("PasswordHash", str)
_hasher = PasswordHasher()  # the library's defaults are RFC 9106's low-memory profile


@dataclass(frozen=True)
class User:
    """`id` is the sign-in name (lower case); `fhir_user` the person as a FHIR resource of this
    server, such as `Practitioner/dr-amina`; `tenant` the one whose records they see."""

    id: str
    name: str
    roles: frozenset[str]
    fhir_user: str | None = None
    tenant: str = DEFAULT


def hash_password(password: str) -> PasswordHash:
    """An argon2id hash, some 50 ms of CPU: call it in a thread, outside any unit. ValueError when
    the password is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return PasswordHash(_hasher.hash(password))


def sign_in_name(text: str) -> str:
    """A typed sign-in name as it is stored."""
    return text.strip().casefold()


async def register_user(tx: Transaction, user: User, password: PasswordHash) -> None:
    """Insert or replace a user; ValueError when it has no role or an unknown
    one, or the name is not normal."""
    if user.id != sign_in_name(user.id) or not user.id:
        raise ValueError(f"the sign-in name {user.id!r} must be lower case and not empty")
    if not user.roles:
        raise ValueError(f"the user {user.id} needs a role")
    if unknown := user.roles - PEOPLES_ROLES:
        raise ValueError(f"unknown roles: {', '.join(sorted(unknown))}")
    value = {
        "name": user.name,
        "roles": sorted(user.roles),
        "fhir_user": user.fhir_user,
        "tenant": user.tenant,
        "password": password,
    }
    await tx.put_record(Record(KIND, user.id, value))


def user_from(record: Record) -> User:
    """The user that a record of this kind holds."""
    value = record.value
    roles, tenant = frozenset(value["roles"]), value.get("tenant", DEFAULT)
    return User(record.id, value["name"], roles, value["fhir_user"], tenant)


def is_password(record: Record | None, password: str) -> bool:
    """Whether the password is the user's; as slow for an unknown user (None) as for a known one.
    Call it in a thread."""
    is_possible = record is not None and len(password) <= LONGEST_PASSWORD
    stored = record.value["password"] if record is not None and is_possible else _nobody()
    try:
        return _hasher.verify(stored, password if is_possible else "") and is_possible
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    """A hash that no sign-in meets: compared with when the name is unknown."""
    return _hasher.hash(token_urlsafe())
