"""How many requests in an hour: of an address that is nobody's, of a client, of a user, and how
many diagnoses a user may ask for.

Rules are written as `what=number` or `what@whom=number`, separated by commas:

    anonymous=100, diagnoses=50, client@client:lab=20000, diagnoses@role:nurse=20, user@tenant:a=900

`none` is no limit. A rule for a user goes before one for a client, that before one for a role, that
before one for a tenant, that before one for all; of several roles the one that allows most counts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from fhir_server.fhir.outcome import FhirError, throttled
from fhir_server.security.principal import Principal
from fhir_server.security.rate_limit import Count, Counters

HOUR = 3600
KINDS = ("anonymous", "client", "user", "diagnoses")
DEFAULTS = "anonymous=100, diagnoses=50"
_RULE = re.compile(
    r"(?P<kind>[a-z]+)(?:@(?P<whom>user|client|role|tenant):(?P<name>[^\s=,]+))?"
    r"\s*=\s*(?P<number>[1-9]\d{0,8}|none)"
)
_SUBNET_BITS = 64
"""What one subscriber has of IPv6."""

Rules = Mapping[tuple[str, str, str], int | None]
"""(what, whom, name) → most in an hour, None for no limit."""


class Repeated(FhirError):
    """A refusal like one that was told and recorded before; it is counted alone, so that a flood
    does not fill the audit trail."""


def read_rules(text: str) -> Rules:
    """The rules of a text, on top of DEFAULTS. ValueError names what is none."""
    rules: dict[tuple[str, str, str], int | None] = {}
    for part in (each.strip() for each in f"{DEFAULTS},{text}".split(",")):
        if not part:
            continue
        rule = _RULE.fullmatch(part)
        if rule is None or rule["kind"] not in KINDS:
            raise ValueError(
                f"{part!r} is no rate limit; one is what=number or what@whom:NAME=number, with "
                f"{', '.join(KINDS)} for what, user, client, role or tenant for whom, and none "
                "for no limit"
            )
        if rule["kind"] == "anonymous" and rule["whom"]:
            raise ValueError(f"{part!r}: who is anonymous has no {rule['whom']}")
        number = None if rule["number"] == "none" else int(rule["number"])
        rules[rule["kind"], rule["whom"] or "", rule["name"] or ""] = number
    return rules


@dataclass(frozen=True)
class RateLimits:
    """Counts, and refuses what is too much: FhirError 429 with the time to wait."""

    rules: Rules
    counters: Counters

    async def of_nobody(self, address: str | None) -> None:
        """A request of nobody known, from the address. The machine's own are not counted: the
        parts of one process call each other from there."""
        place = _network(address)
        most = self.rules.get(("anonymous", "", ""))
        if place is not None and most is not None:
            await self._count(f"anonymous {place}", most, "requests without a valid token")

    async def of_caller(self, principal: Principal) -> None:
        """A request of somebody known, counted for the client and for its user."""
        client = self._most("client", principal)
        if client is not None:
            key = f"client {principal.tenant} {principal.client_id}"
            await self._count(key, client, "requests of this client")
        user = self._most("user", principal)
        if user is not None:
            await self._count(f"user {_user(principal)}", user, "requests of this user")

    async def of_diagnoses(self, principal: Principal, count: int) -> None:
        """So many diagnoses that are asked for in one request."""
        most = self._most("diagnoses", principal)
        if most is None:
            return
        for _ in range(min(count, most + 1)):
            await self._count(f"diagnoses {_user(principal)}", most, "diagnoses of this user")

    async def _count(self, key: str, most: int, what: str) -> None:
        count = await self.counters.hit(f"limit {key}", HOUR)
        if count.hits <= most:
            return
        refusal = throttled(f"more than {most} {what} in an hour", count.resets_in_seconds)
        if count.hits == most + 1:
            raise refusal
        raise Repeated(refusal.status, refusal.issues, refusal.headers)

    def _most(self, kind: str, principal: Principal) -> int | None:
        """What the nearest rule allows; None for no limit."""
        for keys in _whom(principal):
            found = [self.rules[kind, *key] for key in keys if (kind, *key) in self.rules]
            if None in found:
                return None
            if found:
                return max(each for each in found if each is not None)
        return None


class _Nothing:
    """Counts nothing: there is no rule that would look."""

    async def hit(self, key: str, window_seconds: int) -> Count:
        return Count(0, window_seconds)

    async def clear(self, key: str) -> None:
        return


NO_LIMITS = RateLimits({}, _Nothing())


def _whom(principal: Principal) -> Iterator[list[tuple[str, str]]]:
    """Whom a rule may be for, the nearest first."""
    yield [("user", principal.subject)]
    yield [("client", principal.client_id)]
    yield [("role", role) for role in sorted(principal.roles)]
    yield [("tenant", principal.tenant)]
    yield [("", "")]


def _user(principal: Principal) -> str:
    return f"{principal.tenant} {principal.subject}"


def _network(address: str | None) -> str | None:
    """Who is counted as one: an IPv4 address, or a subscriber's part of IPv6. None for the machine
    itself."""
    if address is None:
        return "unknown"
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if found.is_loopback:
        return None
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ip_network((found, _SUBNET_BITS), strict=False))
