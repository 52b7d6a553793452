"""Every search parameter of R4 asked about the values that the official examples have: the
second oracle (FHIRPath on the JSON and R4's tables) and the evaluator find the same.

A sample of the parameters, and as a slow test all of them.
"""

from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from bench.agreement import BASE, NOW, Shelf
from bench.oracle.elements import Resource, component_values, row, rows
from bench.oracle.searches import Library
from fhir_server.fhir import codec
from fhir_server.fhir.outcome import FhirError
from fhir_server.search.expression import Query
from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Scope, plan_search
from fhir_server.search.registry import Registry
from tests.agreement.questions import composites, questions

pytestmark = pytest.mark.shared

SEED = 20261124
MOST_QUESTIONS = 40
"""Of one parameter on one type."""

Question = tuple[str, str]


@pytest.mark.parametrize("share", [0.2, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_oracle_and_the_evaluator_find_the_same_examples(
    examples: dict[str, bytes], share: float
) -> None:
    registry, chance = Registry(), Random(SEED)
    extract, differing, count = Extractor(registry, BASE), [], 0
    for type_, resources in by_type(examples).items():
        chosen = [each for each in asked_parameters(registry, type_) if chance.random() < share]
        shelf = Shelf(extract, resources if chosen else [])
        library = Library({f"{type_}/{each['id']}": each for each in resources}, NOW, BASE)
        for pairs, query in asked(registry, library, type_, chosen):
            count += 1
            if shelf.answer(query) != library.answer(type_, pairs):
                differing.append((type_, pairs))
    assert differing == []
    assert count > 20_000 * share


def asked(
    registry: Registry, library: Library, type_: str, codes: list[str]
) -> Iterator[tuple[list[Question], Query]]:
    """The searches on the parameters; what cannot be asked is no difference."""
    for code in codes:
        for pairs in searches(library, type_, code):
            with suppress(FhirError):
                yield pairs, plan_search(Scope(registry, NOW, BASE), type_, pairs).query


def by_type(examples: dict[str, bytes]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for _, body in sorted(examples.items()):
        resource = codec.parse(body)
        resource.setdefault("meta", {}).setdefault("lastUpdated", "2020-01-01T00:00:00Z")
        if "id" in resource:
            found.setdefault(resource["resourceType"], []).append(resource)
    return found


def asked_parameters(registry: Registry, type_: str) -> list[str]:
    """The parameters with an expression: the others are no matter of the oracle."""
    return [
        each.code
        for each in registry.searchable(type_)
        if each.kind in ("composite", "date", "number", "quantity", "reference", "string", "token",
                         "uri") and "expression" in row(type_, each.code)
    ]  # fmt: skip


def searches(library: Library, type_: str, code: str) -> Iterator[list[Question]]:
    """What to ask of one parameter: its values, their presence, and its order."""
    definition = row(type_, code)
    asked = dict.fromkeys([(":missing", "true"), (":missing", "false")])
    for resource in library.resources.values():
        asked.update(dict.fromkeys(about(library, definition, resource)))
        if len(asked) > MOST_QUESTIONS:
            break
    yield from ([(code + modifier, value)] for modifier, value in asked)
    if definition["type"] != "composite":
        yield from ([("_sort", sign + code)] for sign in ("", "-"))


def about(library: Library, definition: Any, resource: Resource) -> list[Question]:
    if definition["type"] == "composite":
        kinds = [rows()[part["url"]]["type"] for part in definition["component"]]
        return [("", text) for text in composites(component_values(resource, definition), kinds)]
    found = library.values(f"{resource['resourceType']}/{resource['id']}", definition["code"])
    return [each for value in found[:6] for each in questions(definition["type"], value)]
