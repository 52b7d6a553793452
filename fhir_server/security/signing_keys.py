"""Which key signs, and which still verify; pure.

A rotation publishes the new key before it signs, so that whoever keeps our key set for a while
knows it by then, and keeps the old one until the last token that it signed has expired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

LEAD_SECONDS = 900
"""A new key is published this long before it signs; our key set may be kept for 300 s."""
SKEW_SECONDS = 60
Use = Literal["access", "identity"]
USES: tuple[Use, ...] = get_args(Use)
Jwk = dict[str, Any]


class NotRotatable(ValueError):
    """The keys can't be changed as asked; the text says why."""


@dataclass(frozen=True)
class SigningKey:
    """A private JWK of this server: it signs from `starts` until a later one does, and verifies
    until `ends` (None: nothing has taken its place yet)."""

    use: Use
    jwk: Jwk
    starts: float = 0.0
    ends: float | None = None

    @property
    def kid(self) -> str:
        return str(self.jwk["kid"])

    def is_good(self, now: float) -> bool:
        """Whether what it signed is still to be believed."""
        return self.ends is None or self.ends > now


Keys = tuple[SigningKey, ...]


def signer(keys: Keys, use: Use, now: float) -> SigningKey:
    """The key that signs now: of those that have started, the newest. NotRotatable when there is
    none, which no change made here leads to."""
    started = [key for key in keys if key.use == use and key.starts <= now and key.is_good(now)]
    if not started:
        raise NotRotatable(f"no key for {use} tokens")
    return max(started, key=lambda key: key.starts)


def rotated(keys: Keys, made: Sequence[SigningKey], *, now: float, longest_token: int) -> Keys:
    """The keys with a new one for each use, which signs after LEAD_SECONDS; the old ones verify
    until the last token that they signed has expired. NotRotatable while a new key waits."""
    for use in USES:
        signer(keys, use, now)  # a ring without one can't wait for the new key
    waiting = [key for key in keys if key.starts > now]
    if waiting:
        raise NotRotatable(f"the new key {waiting[0].kid} is published and does not sign yet")
    starts = now + LEAD_SECONDS
    ends = starts + longest_token + SKEW_SECONDS
    old = tuple(
        replace(key, ends=ends) if key.ends is None else key for key in keys if key.is_good(now)
    )
    return old + tuple(replace(key, starts=starts, ends=None) for key in made)


def retired(keys: Keys, kid: str, made: Sequence[SigningKey], *, now: float) -> Keys:
    """The keys without one that must not be believed any more. When it was the one that signs,
    the next one signs at once, a fresh one if none waits. NotRotatable when there is no such
    key."""
    found = next((key for key in keys if key.kid == kid and key.is_good(now)), None)
    if found is None:
        raise NotRotatable(f"there is no key {kid}")
    rest = tuple(key for key in keys if key is not found and key.is_good(now))
    if signer(keys, found.use, now) is not found:
        if found.starts <= now:
            return rest
        # The one that was to follow is taken back: the one that signs goes on.
        current = signer(rest, found.use, now)
        return tuple(replace(key, ends=None) if key is current else key for key in rest)
    following = next((key for key in rest if key.use == found.use and key.starts > now), None)
    if following is None:
        fresh = next(key for key in made if key.use == found.use)
        return (*rest, replace(fresh, starts=now, ends=None))
    return tuple(replace(key, starts=now) if key is following else key for key in rest)


def state(keys: Keys, key: SigningKey, now: float) -> Literal["next", "signs", "verifies", "ended"]:
    """What the key does now."""
    if not key.is_good(now):
        return "ended"
    if key.starts > now:
        return "next"
    return "signs" if signer(keys, key.use, now) is key else "verifies"


def keys_from(value: Mapping[str, Any]) -> Keys:
    """The keys that a record holds; one of before there was rotation has one of each use."""
    if "keys" not in value:
        return tuple(SigningKey(use, value[use]) for use in USES)
    return tuple(SigningKey(**each) for each in value["keys"])


def value_of(keys: Keys) -> dict[str, Any]:
    """The keys as a record keeps them."""
    return {
        "keys": [
            {"use": key.use, "jwk": key.jwk, "starts": key.starts, "ends": key.ends} for key in keys
        ]
    }
