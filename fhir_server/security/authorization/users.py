"""People who sign in, and their passwords (argon2id)."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from secrets import token_urlsafe
from typing import Any, NewType

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhir_server.security.roles import ROLES
from fhir_server.security.tenants import DEFAULT
from fhir_server.storage.port import Record, Transaction

KIND = "user"
PEOPLES_ROLES = frozenset(ROLES) - {"service"}
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 256  # argon2 takes more; the limit keeps a login from being a way to burn CPU
_LONGEST_NAME = 200
_PERSON = re.compile(
    r"(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/[A-Za-z0-9\-.]{1,64}"
)

PasswordHash = NewType("PasswordHash", str)
NO_PASSWORD = PasswordHash("")
"""Of people who sign in at another provider alone: no password meets it."""
_hasher = PasswordHasher()  # the library's defaults are RFC 9106's low-memory profile


class BadUser(ValueError):
    """A user can't be kept as given; the text says what is wrong."""


@dataclass(frozen=True)
class User:
    """`id` is the sign-in name (lower case); `fhir_user` the person as a FHIR resource of this
    server, such as `Practitioner/dr-amina`. Who `must_change_password` does so at the next
    sign-in; who `is_disabled` can't sign in. `tenant` is the one whose records they see."""

    id: str
    name: str
    roles: frozenset[str]
    fhir_user: str | None = None
    is_disabled: bool = False
    must_change_password: bool = False
    tenant: str = DEFAULT


def hash_password(password: str) -> PasswordHash:
    """An argon2id hash, some 50 ms of CPU: call it in a thread, outside any unit. ValueError when
    the password is too short or too long for any setting; passwords.py has the policy."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return PasswordHash(_hasher.hash(_composed(password)))


def sign_in_name(text: str) -> str:
    """A typed sign-in name as it is stored."""
    return text.strip().casefold()


def check_user(user: User) -> None:
    """BadUser when it has no role or an unknown one, or its names are not sound."""
    if user.id != sign_in_name(user.id) or not user.id:
        raise BadUser(f"the sign-in name {user.id!r} must be lower case and not empty")
    if not (user.id + user.name).isprintable() or len(user.id) > _LONGEST_NAME:
        raise BadUser("names are of printable characters, sign-in names of 200 at most")
    if user.fhir_user is not None and not is_person(user.fhir_user):
        raise BadUser("the person's resource must be like Practitioner/123")
    if not user.roles:
        raise BadUser(f"the user {user.id} needs a role")
    if unknown := user.roles - PEOPLES_ROLES:
        raise BadUser(f"unknown roles: {', '.join(sorted(unknown))}")


def is_person(reference: str) -> bool:
    """Whether a reference is to somebody who can sign in, on this server."""
    return _PERSON.fullmatch(reference) is not None


async def register_user(tx: Transaction, user: User, password: PasswordHash) -> None:
    """Insert or replace a user; BadUser when it is not sound."""
    check_user(user)
    await tx.put_record(user_record(user, password))


def user_record(user: User, password: PasswordHash) -> Record:
    """The record of a user."""
    value: dict[str, Any] = {
        "name": user.name,
        "roles": sorted(user.roles),
        "fhir_user": user.fhir_user,
        "tenant": user.tenant,
        "password": password,
        "is_disabled": user.is_disabled,
        "must_change_password": user.must_change_password,
    }
    return Record(KIND, user.id, value)


def user_from(record: Record) -> User:
    """The user that a record of this kind holds."""
    value = record.value
    return User(
        record.id,
        value["name"],
        frozenset(value["roles"]),
        value["fhir_user"],
        value.get("is_disabled", False),
        value.get("must_change_password", False),
        value.get("tenant", DEFAULT),
    )


def has_password(record: Record) -> bool:
    """Whether the user has a password here at all."""
    return bool(record.value["password"])


def active(record: Record | None) -> Record | None:
    """The record of a user who may act; None when there is none, or the user is disabled."""
    return None if record is None or record.value.get("is_disabled") else record


async def active_user(tx: Transaction, id: str) -> Record | None:
    """Inside a unit: the user who is to be given something, if they may act. A change of the user
    that is under way conflicts with the unit, so that nothing is given by rights of before."""
    await tx.reserve(reservation(id))
    return active(await tx.record(KIND, id))


def reservation(id: str) -> str:
    """What units that give to a user, or change one, reserve."""
    return f"user {id}"


def is_password(record: Record | None, password: str) -> bool:
    """Whether the password is the user's; as slow for an unknown user (None) as for a known one.
    Call it in a thread."""
    is_possible = len(password) <= LONGEST_PASSWORD
    stored = record.value["password"] if record is not None and is_possible else ""
    try:
        return _hasher.verify(stored or _nobody(), _composed(password) if is_possible else "")
    except (VerificationError, InvalidHashError):
        return False


def _composed(password: str) -> str:
    """The password however a keyboard composed it (NIST SP 800-63B-4 section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobody() -> str:
    """A hash that no sign-in meets: compared with when the name is unknown."""
    return _hasher.hash(token_urlsafe())
