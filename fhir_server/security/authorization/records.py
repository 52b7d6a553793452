"""What the authorization server keeps: each kind as a frozen value and its Record.

Secrets (codes, launch handles, refresh tokens, cookies) are random and kept only as their
SHA-256 digest, which is the record's id; a reader of the store can't use any of them.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from fhir_server.security.tokens import GRANT_KIND
from fhir_server.storage.port import Record, Transaction


@dataclass(frozen=True)
class Session:
    """A sign-in. `grants` are the grants that end with it; `address` and `browser` say where it
    began, for its owner to recognise; `provider` who vouched for the person when it was not this
    server, `provider_token` the id_token to sign out there with."""

    KIND: ClassVar[str] = "session"
    user: str
    started: float
    grants: tuple[str, ...] = ()
    address: str | None = None
    browser: str | None = None
    provider: str | None = None
    provider_token: str | None = None


@dataclass(frozen=True)
class Launch:
    """An EHR launch: the app that it is for, the EHR that made it, the user and the session
    signed in there, the chart that is open (if one is), and what else the EHR tells the app."""

    KIND: ClassVar[str] = "launch"
    client_id: str
    ehr: str
    user: str
    session: str
    patient: str | None = None
    encounter: str | None = None
    need_patient_banner: bool = True
    fhir_context: tuple[Mapping[str, Any], ...] = ()
    intent: str | None = None
    smart_style_url: str | None = None
    tenant: str | None = None
    is_used: bool = False


@dataclass(frozen=True)
class AuthorizationRequest:
    """A request that passed every check and waits for sign-in, a choice or consent. `launch` is
    the launch record's id; `session` is set when the launch signs its user in; `binding` keys the
    forms' CSRF tokens then; `hinted_user` is who the `id_token_hint` is about; `choice` is what
    was chosen for it (context.py). `words` is the scope parameter as it came."""

    KIND: ClassVar[str] = "authorization-request"
    client_id: str
    redirect_uri: str
    state: str
    scope: str
    challenge: str
    received: float
    binding: str
    nonce: str | None = None
    prompt: str | None = None
    max_age: int | None = None
    login_hint: str | None = None
    hinted_user: str | None = None
    launch: str | None = None
    session: str | None = None
    choice: Mapping[str, Any] | None = None
    words: str = ""


@dataclass(frozen=True)
class Grant:
    """What a user allowed a client. While its record exists the tokens made from it are good;
    `session` is None when it outlives the session (offline_access); `ehr` is the EHR whose launch
    it came from. The rest is the launch context."""

    KIND: ClassVar[str] = GRANT_KIND
    client_id: str
    user: str
    scope: str
    signed_in: float
    session: str | None = None
    patient: str | None = None
    encounter: str | None = None
    need_patient_banner: bool = True
    fhir_context: tuple[Mapping[str, Any], ...] = ()
    intent: str | None = None
    smart_style_url: str | None = None
    tenant: str | None = None
    ehr: str | None = None
    nonce: str | None = None


@dataclass(frozen=True)
class Code:
    """An authorization code and the grant that it turns into, whose id is `grant_id`. `until` is
    when it stops being redeemable; its record stays longer, so that a replay is recognised."""

    KIND: ClassVar[str] = "code"
    redirect_uri: str
    challenge: str
    until: float
    session: str
    grant_id: str
    grant: Mapping[str, Any]
    is_used: bool = False


@dataclass(frozen=True)
class RefreshToken:
    """One refresh token of a grant's family; used ones are kept to recognise reuse."""

    KIND: ClassVar[str] = "refresh-token"
    client_id: str
    grant_id: str
    is_used: bool = False


@dataclass(frozen=True)
class Assertion:
    """A client assertion that was accepted; its id stops the same `jti` a second time."""

    KIND: ClassVar[str] = "client-assertion"
    client_id: str


@dataclass(frozen=True)
class PendingSignIn:
    """Somebody who has proved the first factor and has a step to go, in the browser whose form
    cookie has the digest `browser`; `has_proved` the second factor. `provider` and its token as in
    a session."""

    KIND: ClassVar[str] = "pending-sign-in"
    user: str
    browser: str
    has_proved: bool = False
    provider: str | None = None
    provider_token: str | None = None


@dataclass(frozen=True)
class ExternalSignIn:
    """Somebody who was sent to another provider; the record's id is the digest of the state."""

    KIND: ClassVar[str] = "external-sign-in"
    provider: str
    nonce: str
    verifier: str
    browser: str
    request: str | None = None
    page: str = ""


Value = (
    Session | Launch | AuthorizationRequest | Grant | Code | RefreshToken | Assertion
    | PendingSignIn | ExternalSignIn
)  # fmt: skip
_TUPLES = frozenset({"grants", "fhir_context"})
"""Fields that JSON keeps as lists."""
OF_USER = {Session.KIND: "session-of-user", Grant.KIND: "grant-of-user"}
"""Kind of record → the kind of the entries that find a user's own."""
V = TypeVar(
    "V", Session, Launch, AuthorizationRequest, Grant, Code, RefreshToken, Assertion,
    PendingSignIn, ExternalSignIn,
)  # fmt: skip


@dataclass(frozen=True)
class Effects:
    """What a decision changes: records to write, each with the revision that it replaces (0: a
    new one, None: whatever there is), and records to delete."""

    puts: tuple[tuple[Record, int | None], ...] = ()
    deletes: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: "Effects") -> "Effects":
        return Effects(self.puts + other.puts, self.deletes + other.deletes)


async def apply(tx: Transaction, effects: Effects) -> None:
    """Carry out the effects inside the unit; VersionConflict when somebody was first."""
    for record, expected in effects.puts:
        await tx.put_record(record, expected)
    for kind, id in effects.deletes:
        await tx.delete_record(kind, id)


def insert(value: Value, id: str, expires: float) -> Effects:
    """Write a record that must not exist yet; what belongs to a user can then be found by them."""
    ends = _time(expires)
    records = [Record(value.KIND, id, asdict(value), expires=ends)]
    if isinstance(value, Session | Grant):
        records.append(Record(OF_USER[value.KIND], of_user(value.user, id), {}, expires=ends))
    return Effects(tuple((record, 0) for record in records))


def of_user(user: str, id: str = "") -> str:
    """The id of the entry that finds a user's session or grant; without `id`, what the entries
    of all of them start with."""
    return f"{user}\x1f{id}"


def replace_value(record: Record, value: Value) -> Effects:
    """Write a record over the one that was loaded, if nobody has changed it since."""
    changed = Record(record.kind, record.id, asdict(value), expires=record.expires)
    return Effects(puts=((changed, record.revision),))


def delete(kind: str, id: str) -> Effects:
    """Delete a record; no matter if there is none."""
    return Effects(deletes=((kind, id),))


def value_of(kind: type[V], record: Record) -> V:
    """The value that a record of the kind holds; what an older record lacks is its default."""
    known = {field.name for field in fields(kind)} & record.value.keys()
    value = {name: record.value[name] for name in known}
    for name in _TUPLES & known:
        value[name] = tuple(value[name])
    return kind(**value)


def expiry_of(record: Record) -> float:
    """When the record ends, in seconds since 1970. Every record made here has an end."""
    if record.expires is None:
        raise ValueError(f"{record.kind} without an end")
    return record.expires.timestamp()


def digest(secret: str) -> str:
    """The id under which a secret is kept."""
    hashed = hashlib.sha256(secret.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
