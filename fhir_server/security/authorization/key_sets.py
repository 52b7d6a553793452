"""The key sets that clients publish at an address (`jwks_uri`), fetched and kept for a while
(SMART App Launch 2.2, "Asymmetric client authentication", signature verification).

A set is kept no longer than its Cache-Control allows. Within that time it is read anew each hour,
and at once when an assertion names a key that it lacks, but not more often than every half minute:
who sends rubbish can't make this server hammer the client's. When the address fails, the last
good set is used for as long as its Cache-Control allows.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from fhir_server.security.checked_fetch import Fetched, Unreachable

FRESH_SECONDS = 300
"""A set without Cache-Control is read anew after this,"""
USABLE_SECONDS = 3600
"""and, when that fails, used for so long."""
LONGEST_FRESH = 3600
LONGEST_USABLE = 24 * 3600
SPACING_SECONDS = 30
"""A set is not fetched more often for the sake of an unknown key,"""
RETRY_SECONDS = 10
"""nor after a failure, than this."""
MOST_PER_MINUTE = 30
_MOST_ADDRESSES = 1000
_MOST_KEYS = 100

Jwk = Mapping[str, Any]
Fetch = Callable[[str], Awaitable[Fetched]]


class KeysUnavailable(Exception):
    """There is no key set to judge by; the text says why."""


@dataclass(frozen=True)
class Lifetime:
    """For how many seconds a set needs no look, and is good at all."""

    fresh: float
    usable: float


@dataclass
class _Address:
    """What is known of one address. `asked` are the times of the latest fetches."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys: tuple[Jwk, ...] = ()
    fresh_until: float = 0.0
    usable_until: float = 0.0
    asked: tuple[float, ...] = ()
    problem: str | None = None


class KeySets:
    """The key sets of a process, by address."""

    def __init__(self, fetch: Fetch, clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    async def keys(
        self, url: str, wanted: Callable[[Sequence[Jwk]], Sequence[Jwk]]
    ) -> Sequence[Jwk]:
        """The public keys at the address. When `wanted` picks none of those that are kept, they
        are fetched anew if that is due. KeysUnavailable when there are none to go by."""
        known = self._addresses.setdefault(url, _Address())
        self._addresses.move_to_end(url)
        if len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        async with known.lock:  # of many at once, one fetches
            now = self._clock().timestamp()
            is_due = known.fresh_until <= now
            if is_due or (not wanted(known.keys) and _last(known) + SPACING_SECONDS <= now):
                await self._renew(url, known, now)
            if known.usable_until <= now and known.problem is not None:
                raise KeysUnavailable(known.problem)
            return known.keys

    async def _renew(self, url: str, known: _Address, now: float) -> None:
        lately = tuple(time for time in known.asked if time > now - 60)
        if known.problem is not None and _last(known) + RETRY_SECONDS > now:
            return
        if len(lately) >= MOST_PER_MINUTE:
            known.problem = "its address is asked too often"
            return
        known.asked = (*lately, now)
        try:
            fetched = await self._fetch(url)
            known.keys = read_keys(fetched.body)
        except Unreachable as problem:
            known.problem = str(problem)
            return
        known.problem = None
        lifetime = lifetime_of(fetched.headers)
        known.fresh_until, known.usable_until = now + lifetime.fresh, now + lifetime.usable


def _last(known: _Address) -> float:
    return known.asked[-1] if known.asked else float("-inf")


def read_keys(body: bytes) -> tuple[Jwk, ...]:
    """The public keys of a JWK Set that have a name; Unreachable when the text is none. Private
    keys, which nobody may publish, and what has no name are left out."""
    try:
        listed = orjson.loads(body)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as problem:
        raise Unreachable("the answer is no JWK Set") from problem
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise Unreachable(f"the answer is no JWK Set of at most {_MOST_KEYS} keys")
    return tuple(key for key in listed if isinstance(key, dict) and _is_public_key(key))


def lifetime_of(headers: Mapping[str, str]) -> Lifetime:
    """How long a set may be kept, by its Cache-Control (RFC 9111; `stale-if-error` as RFC 5861
    has it), within our own bounds."""
    directives = _directives(headers.get("cache-control", ""))
    if {"no-store", "no-cache"} & directives.keys():
        return Lifetime(0, 0)
    if "max-age" not in directives:
        return Lifetime(FRESH_SECONDS, USABLE_SECONDS)
    age = max(0, _seconds(directives["max-age"]) - _seconds(headers.get("age", "0")))
    is_strict = "must-revalidate" in directives
    beyond = 0 if is_strict else _seconds(directives.get("stale-if-error", "0"))
    return Lifetime(min(age, LONGEST_FRESH), min(age + beyond, LONGEST_USABLE))


def _directives(header: str) -> dict[str, str]:
    pairs = (word.strip().partition("=") for word in header.lower().split(","))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs if name.strip()}


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _is_public_key(key: Mapping[str, Any]) -> bool:
    return isinstance(key.get("kid"), str) and not {"d", "k"} & key.keys()
