"""What the app remembers between two requests, all of it on the server.

`SessionStore` is the port: bytes under a key for a number of seconds. `Sessions` keeps the four
kinds of things in it: launch attempts, grants (tokens), sessions, and what a session holds.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from redis.asyncio import Redis


class SessionStore(Protocol):
    """Expiring bytes under a key."""

    async def get(self, key: str) -> bytes | None:
        """The value, None when it never was, is over or was taken."""
        ...

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep the value so long, in place of an earlier one."""
        ...

    async def take(self, key: str) -> bytes | None:
        """The value, and remove it in the same step: of two takers one gets it."""
        ...

    async def claim(self, key: str, seconds: int) -> bool:
        """True for the first caller only, until the time is over or the key is deleted."""
        ...

    async def delete(self, key: str) -> None:
        """Forget the value, if there is one."""
        ...


class MemorySessionStore:
    """The store of a single process; `now` gives seconds. Expired values go at the next write."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._values: dict[str, tuple[float, bytes]] = {}

    async def get(self, key: str) -> bytes | None:
        expires, value = self._values.get(key, (0.0, b""))
        return value if expires > self._now() else None

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        now = self._now()
        self._values = {k: v for k, v in self._values.items() if v[0] > now}
        self._values[key] = (now + seconds, value)

    async def take(self, key: str) -> bytes | None:
        expires, value = self._values.pop(key, (0.0, b""))
        return value if expires > self._now() else None

    async def claim(self, key: str, seconds: int) -> bool:
        if await self.get(key) is not None:
            return False
        await self.put(key, b"1", seconds)
        return True

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)


class RedisSessionStore:
    """The store that several app processes share; `redis` is a client that answers bytes."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def get(self, key: str) -> bytes | None:
        return _stored(await self._redis.get(_PREFIX + key))

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        await self._redis.set(_PREFIX + key, value, ex=seconds)

    async def take(self, key: str) -> bytes | None:
        return _stored(await self._redis.getdel(_PREFIX + key))

    async def claim(self, key: str, seconds: int) -> bool:
        return bool(await self._redis.set(_PREFIX + key, b"1", ex=seconds, nx=True))

    async def delete(self, key: str) -> None:
        await self._redis.delete(_PREFIX + key)


_PREFIX = "medsage:app:"


def _stored(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise TypeError("the Redis client must not decode responses")


@dataclass(frozen=True)
class Attempt:
    """A launch on its way through the authorization server; found again by `state`, once."""

    state: str
    nonce: str
    verifier: str
    fhir_base: str
    binding: str
    standalone: bool


@dataclass(frozen=True)
class Grant:
    """Tokens of one launch; shared by the sessions that a standalone user opens from it."""

    id: str
    fhir_base: str
    access_token: str
    expires_at: float
    refresh_token: str | None
    scope: str
    id_token: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where the chart of a session was copied from, and what is known of it there.

    `fhir_base` is the record system's issuer; `patient`, `encounter` and `user` (a reference) are
    its own; `scope` was granted there. `gaps` are types that could not be copied, each with the
    reason ("forbidden", "failed" or "partly"); `left_out` counts entries that were not taken
    over, `notes` are codes of what else is missing (`smart_app.ehr.gaps`)."""

    fhir_base: str
    name: str
    patient: str
    encounter: str | None
    user: str | None
    scope: str
    copied: str
    gaps: tuple[tuple[str, str], ...] = ()
    left_out: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """One launch, named by `sid` in every URL. `sid` opens nothing without the browser's binding
    cookie, of which `binding` is the hash.

    `fhir_base`, `patient` and the other references are of the server that the pages work on. With
    an `origin` that is our own, and the chart is a copy of the record system's."""

    sid: str
    binding: str
    grant: str
    fhir_base: str
    fhir_user: str | None
    user_name: str
    started: str
    scope: str
    patient: str | None = None
    encounter: str | None = None
    need_patient_banner: bool = True
    standalone: bool = False
    origin: Origin | None = None

    @property
    def issuer(self) -> str:
        """The issuer that the user signed in at, and whose tokens the grant holds."""
        return self.fhir_base if self.origin is None else self.origin.fhir_base


ATTEMPT_SECONDS = 600


class Sessions:
    """Typed access to the store; everything ends `seconds` after it was written."""

    def __init__(self, store: SessionStore, seconds: int) -> None:
        self.store = store
        self.seconds = seconds

    async def begin(self, attempt: Attempt) -> None:
        """Keep a launch attempt for ten minutes."""
        await self.store.put(f"attempt:{attempt.state}", _bytes(asdict(attempt)), ATTEMPT_SECONDS)

    async def take_attempt(self, state: str) -> Attempt | None:
        """The attempt with this state, once; None when unknown, used or expired."""
        value = await self.store.take(f"attempt:{state}")
        return None if value is None else Attempt(**json.loads(value))

    async def open(self, session: Session) -> None:
        """Make the session's URL valid."""
        await self.store.put(f"session:{session.sid}", _bytes(asdict(session)), self.seconds)

    async def session(self, sid: str) -> Session | None:
        """The session with this id, None when it never was or has ended."""
        value = await self.store.get(f"session:{sid}")
        return None if value is None else _session(json.loads(value))

    async def keep_grant(self, grant: Grant) -> None:
        """Store the newest tokens of a grant."""
        await self.store.put(f"grant:{grant.id}", _bytes(asdict(grant)), self.seconds)

    async def grant(self, grant_id: str) -> Grant | None:
        """The grant's newest tokens; None after sign-out."""
        value = await self.store.get(f"grant:{grant_id}")
        return None if value is None else Grant(**json.loads(value))

    async def close(self, session: Session) -> None:
        """Sign out: the session and its grant end, and with the grant all its other sessions."""
        await self.store.delete(f"session:{session.sid}")
        await self.store.delete(f"grant:{session.grant}")


def _session(value: dict[str, Any]) -> Session:
    origin = value.pop("origin", None)
    if origin is None:
        return Session(**value)
    origin["gaps"] = tuple((type_, reason) for type_, reason in origin["gaps"])
    return Session(**value, origin=Origin(**{**origin, "notes": tuple(origin["notes"])}))


def _bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
