"""What a Subscription asks for, judged (R4 Subscription; rest-hook, notifications are empty)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.conditional import parse_condition
from fhir_server.search.evaluate import ChainNeedsStore, evaluate
from fhir_server.search.expression import Expression
from fhir_server.search.plan import Scope
from fhir_server.storage.port import Terms

Resource = dict[str, Any]
_FORBIDDEN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class UnusableSubscription(ValueError):
    """The Subscription can't be served; the text says why and stands in `Subscription.error`."""


@dataclass(frozen=True)
class Watch:
    """A Subscription in force: matches of `type` that pass `test` are told to `endpoint`.
    `ends` is `Subscription.end`, an R4 instant."""

    id: str
    type: str
    test: Expression
    endpoint: str
    headers: Mapping[str, str]
    ends: str | None

    def matches(self, terms: Terms) -> bool:
        return evaluate(self.test, terms)


def watch_of(resource: Resource, scope: Callable[[], Scope]) -> Watch:
    """The watch that a Subscription describes; `scope()` is what its criteria are planned in.

    Raises UnusableSubscription for what is not built: other channels, payloads, criteria with
    chains, with result parameters or unknown ones.
    """
    channel = resource["channel"]
    if channel["type"] != "rest-hook":
        raise UnusableSubscription(f"channel type {channel['type']} is not supported")
    if "payload" in channel:
        raise UnusableSubscription("channel.payload is not supported: notifications are empty")
    endpoint = channel.get("endpoint", "")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise UnusableSubscription("channel.endpoint must be an http or https URL")
    type_, _, condition = resource["criteria"].partition("?")
    try:
        test = parse_condition(scope(), type_, condition).where
        evaluate(test, Terms())
    except FhirError as refusal:
        reasons = "; ".join(issue.diagnostics for issue in refusal.issues)
        raise UnusableSubscription(f"criteria: {reasons}") from refusal
    except ChainNeedsStore as chain:
        raise UnusableSubscription("criteria: a chain can't be used here") from chain
    headers = _headers(channel.get("header", ()))
    return Watch(resource["id"], type_, test, endpoint, headers, resource.get("end"))


def _headers(lines: Sequence[str]) -> dict[str, str]:
    """`Name: value` lines as they are to be sent."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip().replace("-", "").isalnum() or "\n" in value:
            raise UnusableSubscription("channel.header must be lines like Name: value")
        if name.strip().lower() in _FORBIDDEN_HEADERS:
            raise UnusableSubscription(f"channel.header can't set {name.strip()}")
        headers[name.strip()] = value.strip()
    return headers
