"""The guard's law under the searches of the agreement suite: every kind of parameter, modifier,
composite, chain and `_has`, over resources that refer to each other at random."""

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.plan import Scope, plan_search
from fhir_server.security import judge
from fhir_server.security.guarded_store import GuardedStore
from fhir_server.storage.sqlite.store import SqliteStore
from tests.agreement.strategies import random_collection, random_search
from tests.guard_world import AT, BASE, REGISTRY, Resource, found, guard, opened

PATIENT = "a"
SEARCHES_PER_WARD = 20
SCOPES = ("patient/*.rs", "patient/Observation.s patient/Patient.s", "patient/*.s user/Encounter.s")
Search = tuple[str, list[tuple[str, str]]]


def is_visible(resource: Resource, scopes: str) -> bool:
    """The rules in words, on the JSON."""
    type_ = resource["resourceType"]
    if type_ == "Encounter" and "user/Encounter" in scopes:
        return True
    if "*" not in scopes and type_ not in ("Observation", "Patient"):
        return False
    if type_ in ("Questionnaire", "Location"):
        return True
    named = [resource.get("subject"), *(each["other"] for each in resource.get("link", ()))]
    named += resource.get("performer", [])
    texts = [str(each.get("reference")) for each in named if each]
    is_named = any(f"{text}/".startswith(f"Patient/{PATIENT}/") for text in texts)
    return is_named or (type_ == "Patient" and resource["id"] == PATIENT)


async def differences(resources: list[Resource], asked: list[Search], scopes: str) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        visible = [each for each in resources if is_visible(each, scopes)]
        full = await opened(Path(folder) / "full.db", resources)
        lacking = await opened(Path(folder) / "lacking.db", visible)
        view = guard(full, scopes, patient=PATIENT)
        try:
            return [each for each in asked if await _differs(view, lacking, each)]
        finally:
            await full.close()
            await lacking.close()


async def _differs(view: GuardedStore, lacking: SqliteStore, search: Search) -> bool:
    try:
        query = plan_search(Scope(REGISTRY, AT, BASE), *search).query
    except FhirError:
        return False  # refused before any store is asked
    expected = await found(lacking, query)
    return await found(view, query) != expected or await view.count(query) != len(expected)


def ward_and_searches(seed: int) -> tuple[list[Resource], list[Search], str]:
    chance = random.Random(seed)
    resources = random_collection(chance)
    asked = [random_search(chance) for _ in range(SEARCHES_PER_WARD)]
    return resources, asked, chance.choice(SCOPES)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_guarded_search_answers_as_if_the_hidden_did_not_exist(seed: int) -> None:
    assert asyncio.run(differences(*ward_and_searches(seed))) == []


def test_a_leak_planted_in_the_hops_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "guarded", lambda expression, view: expression)
    resources = [
        {"resourceType": "Patient", "id": PATIENT},
        {"resourceType": "Encounter", "id": "e", "subject": {"reference": "Patient/b"}},
        {
            "resourceType": "Observation",
            "id": "o",
            "subject": {"reference": f"Patient/{PATIENT}"},
            "encounter": {"reference": "Encounter/e"},
        },
    ]
    search = ("Observation", [("encounter:Encounter.subject", "Patient/b")])
    assert asyncio.run(differences(resources, [search], SCOPES[0])) == [search]
