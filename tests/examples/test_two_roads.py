"""The two roads of validation agree: whatever a schema accepts early, the walker finds faultless.

Resources are broken in one or two places, with fixed seeds.
"""

import copy
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhir import codec
from fhir_server.validation.validate import is_accepted_early
from fhir_server.validation.walker import walk

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
EXTENSION = {"url": "http://x.org/e", "valueCode": "x"}
SUBSTITUTES: list[Any] = [
    *("", " ", "x", "a b", "a ", "a\x00b", "male", "final", "A", "AAAA", DIV.format(" ")),
    *("2024-02-30", "2024-02-29", "2024", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00"),
    *("Patient/1", "Group/2", "Thing/1", "#x", "#", "http://x.org/y", "urn:uuid:1"),
    *(None, True, False, 0, 1, -1, 5, 1.5, Decimal("1.0"), Decimal("1E+3"), 2**31, 10**30),
    *({}, [], [None], ["x"], {"id": "a"}, EXTENSION, {"extension": [EXTENSION]}),
    *({"resourceType": "Patient"}, {"reference": "#x"}, {"value": 1}, {"code": "x"}),
    *({"start": "2020", "end": "2019"}, {"value": 5, "comparator": "<"}),
]
ADDED_KEYS = (
    *("id", "extension", "valueString", "valueQuantity", "contained", "_id", "text", "type"),
    *("code", "system", "reference", "status", "item", "url", "end", "dataAbsentReason"),
    *("resource", "initial", "answerOption", "unknownKey"),
)

SEEDS: dict[str, dict[str, Any]] = {
    "Patient": {
        "resourceType": "Patient",
        "id": "p",
        "meta": {"profile": ["http://x.org/p"], "tag": [{"system": "u:x", "code": "y"}]},
        "text": {"status": "generated", "div": DIV.format("<b>x</b>")},
        "extension": [EXTENSION, {"url": "u:y", "extension": [EXTENSION]}],
        "name": [{"use": "official", "family": "A", "given": ["B"], "period": {"start": "2020"}}],
        "gender": "male",
        "birthDate": "2000-02-29",
        "deceasedBoolean": False,
        "contact": [{"relationship": [{"text": "x"}], "name": {"text": "y"}}],
        "communication": [{"language": {"text": "x"}, "preferred": True}],
        "managingOrganization": {"reference": "Organization/1"},
    },
    "Observation": {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/1", "display": "x"},
        "effectivePeriod": {"start": "2020-01-01", "end": "2020-01-02"},
        "issued": "2020-01-02T10:00:00Z",
        "valueQuantity": {"value": Decimal("1.50"), "system": "u:x", "code": "kg"},
        "referenceRange": [{"low": {"value": 1}, "high": {"value": 2}}],
        "component": [{"code": {"text": "x"}, "valueInteger": 5}],
    },
    "Condition": {
        "resourceType": "Condition",
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "active",
                }
            ]
        },
        "subject": {"reference": "Patient/1"},
        "onsetAge": {"value": 5, "system": "http://unitsofmeasure.org", "code": "a"},
        "stage": [{"summary": {"text": "x"}}],
    },
    "contained resources": {
        "resourceType": "MedicationRequest",
        "contained": [
            {"resourceType": "Medication", "id": "m", "code": {"text": "x"}},
            {
                "resourceType": "Organization",
                "id": "o",
                "name": "O",
                "partOf": {"reference": "#o"},
            },
        ],
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
        "medicationReference": {"reference": "#m"},
        "dosageInstruction": [{"timing": {"repeat": {"period": 1, "periodUnit": "d"}}}],
    },
    "Bundle": {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
                "resource": {
                    "resourceType": "Questionnaire",
                    "status": "draft",
                    "item": [
                        {
                            "linkId": "1",
                            "type": "group",
                            "item": [{"linkId": "2", "type": "choice", "required": True}],
                        }
                    ],
                },
            }
        ],
    },
}


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*place, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*place, index))


def break_one_place(resource: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    broken = copy.deepcopy(resource)
    choices = list(places(broken))
    if not choices:
        return broken
    *way, key = chance.choice(choices)
    parent: Any = broken
    for step in way:
        parent = parent[step]
    substitute = copy.deepcopy(chance.choice(SUBSTITUTES))
    match chance.choice(("replace", "replace", "remove", "sibling", "add", "repeat")):
        case "remove":
            del parent[key]
        case "sibling" if isinstance(parent, dict):
            parent[f"_{key}"] = substitute
        case "add" if isinstance(parent, dict):
            parent[chance.choice(ADDED_KEYS)] = substitute
        case "repeat":
            parent[key] = [parent[key]] * chance.choice((1, 2))
        case _:
            parent[key] = substitute
    return broken


def disagreement(resource: dict[str, Any], chance: random.Random) -> str | None:
    broken = break_one_place(resource, chance)
    if chance.random() < 0.3:
        broken = break_one_place(broken, chance)
    issues = walk(broken) if is_accepted_early(broken) else ()
    return f"{issues[0].diagnostics} in {codec.encode(broken)!r}" if issues else None


@pytest.mark.parametrize("name", SEEDS)
def test_what_the_schema_accepts_the_walker_finds_faultless(name: str):
    seed = SEEDS[name]
    assert is_accepted_early(seed)
    assert walk(seed) == ()
    chance = random.Random(20261124)
    assert [found for _ in range(600) if (found := disagreement(seed, chance))] == []


@pytest.mark.shared
def test_both_roads_agree_on_broken_official_examples(examples: dict[str, bytes]):
    chance = random.Random(4)
    small = [body for body in examples.values() if len(body) < 20_000]
    found = [disagreement(codec.parse(chance.choice(small)), chance) for _ in range(1500)]
    assert [each for each in found if each] == []
