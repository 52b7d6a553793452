"""What a Subscription asks for, judged (R4 Subscription; rest-hook, notifications are empty)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from fhir_server.fhir.dates import microseconds, time_range
from fhir_server.fhir.outcome import FhirError
from fhir_server.search.conditional import parse_condition
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import Expression
from fhir_server.search.plan import Scope
from fhir_server.security.visibility import has_links
from fhir_server.storage.port import Terms

Resource = dict[str, Any]
_FORBIDDEN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e\t]*)")


class UnusableSubscription(ValueError):
    """The Subscription can't be served; the text says why and stands in `Subscription.error`."""


@dataclass(frozen=True)
class Watch:
    """A Subscription in force: matches of `type` that pass `test` are told to `endpoint` until
    `ends` (microseconds since 1970; None: for good)."""

    id: str
    type: str
    test: Expression
    endpoint: str
    headers: Mapping[str, str]
    ends: int | None

    def matches(self, terms: Terms) -> bool:
        """Whether a version with these terms is told."""
        return evaluate(self.test, terms)

    def has_ended(self, now: datetime) -> bool:
        """Whether `Subscription.end` has been reached."""
        return self.ends is not None and microseconds(now) >= self.ends


def watch_of(resource: Resource, scope: Callable[[], Scope]) -> Watch:
    """The watch that a Subscription describes; `scope()` is what its criteria are planned in.

    Raises UnusableSubscription for what is not built: other channels, payloads, criteria with
    chains, with result parameters or unknown ones.
    """
    channel = resource.get("channel", {})
    if channel.get("type") != "rest-hook":
        raise UnusableSubscription(f"channel type {channel.get('type')} is not supported")
    if "payload" in channel:
        raise UnusableSubscription("channel.payload is not supported: notifications are empty")
    type_, test = _test(resource.get("criteria", ""), scope)
    end = resource.get("end")
    return Watch(
        id=resource["id"],
        type=type_,
        test=test,
        endpoint=_endpoint(channel.get("endpoint", "")),
        headers=_headers(channel.get("header", ())),
        ends=time_range(end).low if end else None,
    )


def _test(criteria: str, scope: Callable[[], Scope]) -> tuple[str, Expression]:
    type_, _, condition = criteria.partition("?")
    try:
        test = parse_condition(scope(), type_, condition).where
    except FhirError as refusal:
        reasons = "; ".join(issue.diagnostics for issue in refusal.issues)
        raise UnusableSubscription(f"criteria: {reasons}") from refusal
    if has_links(test):
        # It would have to be judged again whenever the other resource changes.
        raise UnusableSubscription("criteria: a chain can't be used here")
    return type_, test


def _endpoint(text: str) -> str:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise UnusableSubscription("channel.endpoint must be an http or https URL")
    return text


def _headers(lines: Sequence[str]) -> dict[str, str]:
    """`Name: value` lines as they are to be sent."""
    headers = {}
    for line in lines:
        parts = _HEADER.fullmatch(line)
        if parts is None:
            raise UnusableSubscription("channel.header must be lines like Name: value")
        name, value = parts.groups()
        if name.lower() in _FORBIDDEN_HEADERS:
            raise UnusableSubscription(f"channel.header can't set {name}")
        headers[name] = value.strip()
    return headers
