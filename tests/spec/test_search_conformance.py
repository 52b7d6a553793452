"""Search cases written by others: fhir-candle's R4 vectors, and the official examples."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import table
from fhir_server.fhir.outcome import FhirError
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import Terms
from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Scope, plan_search
from fhir_server.search.registry import Registry
from tests.search_ward import BASE, NOW, UPDATED, extractor

CONFORMANCE = Path(__file__).parents[3] / "shared" / "conformance"

AGAINST_R4 = {
    "identifier=|12345": "|code asks for identifiers without a system; this one has a system",
    "subject.name=peter": "a contained patient of that name too: chains see inside contained ones",
    "subject:Patient.name=peter": "likewise",
    "value-quantity=185|http://unitsofmeasure.org|lbs": "the code is [lb_av]; lbs is its text",
    "value-quantity=820|urn:iso:std:iso:11073:10101|cL/s": "the code is 265201; cL/s is its text",
    "value-quantity=820|urn:iso:std:iso:11073:10101|cl/s": "the code is 265201; cL/s is its text",
}
"""Cases that contradict R4 (docs/spec-readings.md, "fhir-candle's vectors")."""

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CONFORMANCE.exists(), reason="../shared/conformance is not here"),
]


def members(name: str, suffix: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(CONFORMANCE / name) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(suffix) else None
            if isinstance(file, io.BufferedReader):
                yield member.name, file.read()


class Shelf:
    def __init__(self, found: dict[str, Terms]) -> None:
        self.found = found

    def resource(self, reference: str) -> Terms | None:
        return self.found.get(reference)

    def resources(self, type_: str) -> Iterator[Terms]:
        return (terms for key, terms in self.found.items() if key.startswith(type_ + "/"))


def _row(definition: dict[str, Any]) -> dict[str, Any]:
    return {name: definition[name] for name in ("url", "code", "type", "base", "expression")}


def test_fhir_candle_vectors() -> None:
    files = dict(members("search-candle-r4.tar.xz", ".json"))
    cases = json.loads(files.pop(next(name for name in files if "vectors" in name)))["cases"]
    resources = [parse(body) for body in files.values()]
    custom = [_row(each) for each in resources if each["resourceType"] == "SearchParameter"]
    registry = Registry([*table("search_parameters.json"), *custom])
    extract = Extractor(registry, BASE)
    shelf = Shelf({})
    for each in resources:
        if "id" in each:
            each.setdefault("meta", {})["lastUpdated"] = UPDATED
            shelf.found[f"{each['resourceType']}/{each['id']}"] = extract(each)
    differing = []
    for case in cases:
        pairs = parse_qsl(case["query"], keep_blank_values=True)
        plan = plan_search(Scope(registry, NOW, BASE), case["type"], pairs)
        matches = [
            evaluate(plan.query.where, each, shelf) for each in shelf.resources(case["type"])
        ]
        if sum(matches) != case["total"]:
            differing.append(case["query"])
    assert differing == [case["query"] for case in cases if case["query"] in AGAINST_R4]
    assert len(cases) == 83


def test_every_official_example_has_terms() -> None:
    count = 0
    for name, body in members("r4-json.tar.xz", ".json"):
        try:
            resource = parse(body)
        except FhirError:
            continue  # the known-bad ones are no JSON
        resource.setdefault("meta", {})["lastUpdated"] = UPDATED
        terms = extractor()(resource)
        assert terms.sort, name
        assert all("\x1f\x1f\x1f" not in value for _, value in terms.terms), name
        count += 1
    assert count > 700
