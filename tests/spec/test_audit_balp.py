"""Our AuditEvents against the official profiles of IHE BALP 1.1.5, as far as they state
cardinalities, patterns and slices by type."""

import json
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit.event import audit_event
from fhir_server.audit.journal import AuditTrail
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Key
from tests.audit_world import AT, BASE, DOCTOR, WORKER

PACKAGE = Path(__file__).parents[2].parent / "shared" / "spec" / "igs" / "ihe-balp-1.1.5.tar.xz"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not PACKAGE.exists(), reason="the BALP package is not beside the checkout"),
]
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/"
Json = dict[str, Any]


@cache
def elements(url: str) -> tuple[Json, ...]:
    """The differential of a profile, those of the profiles it builds on first."""
    with tarfile.open(PACKAGE) as package:
        for member in package:
            if "/StructureDefinition-" not in member.name:
                continue
            content = package.extractfile(member)
            assert content is not None
            profile = json.loads(content.read())
            if profile["url"] == url:
                parent = profile["baseDefinition"]
                inherited = elements(parent) if parent.startswith(BALP) else ()
                return (*inherited, *profile["differential"]["element"])
    raise AssertionError(f"no profile {url}")


def includes(value: Any, pattern: Any) -> bool:
    """FHIR's pattern[x]: everything in the pattern is in the value."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and includes(value[name], each) for name, each in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(includes(each, one) for each in value) for one in pattern
        )
    return bool(value == pattern)


def values(node: Any, path: list[str]) -> list[Any]:
    """Everything at a path below the node; lists are opened."""
    found = [node]
    for name in path:
        below = [each[name] for each in found if isinstance(each, dict) and name in each]
        found = [one for each in below for one in (each if isinstance(each, list) else [each])]
    return found


def patterns_of(definition: Json) -> list[Any]:
    return [value for name, value in definition.items() if name.startswith("pattern")]


def problems(event: Json) -> list[str]:
    """What the event's own profile forbids."""
    (url,) = event["meta"]["profile"]
    definitions = elements(url)
    by_type = {
        each["id"].removesuffix(".type"): patterns_of(each)
        for each in definitions
        if each["id"].endswith(".type") and ":" in each["id"] and patterns_of(each)
    }
    return [
        f"{definition['id']}: {problem}"
        for definition in definitions
        for problem in (
            *counts(event, definition, by_type),
            *mismatches(event, definition, by_type),
        )
    ]


def located(event: Json, definition: Json, by_type: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The nodes that a definition is about, and the path below them. A slice that is told by a
    value set rather than by a pattern gives none: see test_audit_event."""
    head, _, rest = definition["id"].removeprefix("AuditEvent").partition(":")
    path = [name for name in head.split(".") if name]
    if not rest:
        return [event], path
    slice_, _, below = rest.partition(".")
    inside = [name for name in below.split(".") if name]
    if path == ["subtype"]:
        kept = [each for each in values(event, path) if matches(each, patterns_of(definition))]
        return (kept, inside) if patterns_of(definition) else ([], inside)
    patterns = by_type.get(f"AuditEvent{head}:{slice_}")
    if patterns is None:
        return [], inside
    return [each for each in values(event, path) if matches(each["type"], patterns)], inside


def matches(value: Any, patterns: list[Any]) -> bool:
    return all(includes(value, pattern) for pattern in patterns)


def counts(event: Json, definition: Json, by_type: dict[str, Any]) -> Iterator[str]:
    nodes, path = located(event, definition, by_type)
    is_told_by_pattern = definition["id"] in by_type or ":" not in definition["id"]
    found = [len(values(node, path)) for node in nodes] if path else [len(nodes)]
    if not path and not is_told_by_pattern:
        return
    lowest, highest = definition.get("min", 0), definition.get("max", "*")
    for count in found:
        if count < lowest or (highest != "*" and count > int(highest)):
            yield f"{count} not in {lowest}..{highest}"


def mismatches(event: Json, definition: Json, by_type: dict[str, Any]) -> Iterator[str]:
    nodes, path = located(event, definition, by_type)
    for node in nodes:
        for value in values(node, path):
            if not matches(value, patterns_of(definition)):
                yield f"{value} is not {patterns_of(definition)}"


CASES = [
    (interaction, principal, patient)
    for interaction in ("create", "read", "vread", "update", "delete", "search-type")
    for principal in (DOCTOR, WORKER)
    for patient in ("kofi", None)
]


def event_of(interaction: str, principal: Principal, patient: str | None, **more: Any) -> Json:
    trail = AuditTrail(principal, lambda: AT, lambda: "id-1", BASE, request_id="r-1", **more)
    is_search = interaction == "search-type"
    entry = trail.entry(
        interaction=interaction,
        outcome="success",
        status=200,
        key=None if is_search else Key("Observation", "o1"),
        version=None if is_search else 2,
        query="Observation?code=1" if is_search else None,
        patient=patient,
    )
    return audit_event(entry)


@pytest.mark.parametrize(("interaction", "principal", "patient"), CASES)
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "ward-pc-3", None])
def test_an_event_keeps_to_the_profile_it_claims(
    interaction: str, principal: Principal, patient: str | None, address: str | None
) -> None:
    assert problems(event_of(interaction, principal, patient, address=address)) == []


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda event: event.pop("subtype"), "subtype"),
        (lambda event: event["agent"].pop(0), "agent:client"),
        (lambda event: event["agent"][0].pop("network"), "agent:client.network"),
        (lambda event: event["agent"][2].update(network={}), "agent:user.network"),
        (lambda event: event["entity"].pop(0), "entity:data"),
        (lambda event: event["entity"].pop(1), "entity:patient"),
        (lambda event: event.update(action="E"), "action"),
        (lambda event: event.update(outcome="4"), "outcome"),
    ],
)
def test_the_check_notices_what_a_profile_forbids(spoil: Any, named: str) -> None:
    event = event_of("read", DOCTOR, "kofi")
    spoil(event)
    assert any(f"AuditEvent.{named}" in each for each in problems(event))
