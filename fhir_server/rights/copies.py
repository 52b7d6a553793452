"""Bundles that are stored with copies of a record in them (documents, collections). No index and no
compartment looks into them, so they are nobody's, and stay: whoever answers the patient must know
of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.rights.extent import EVER, Extent, every_version
from fhir_server.storage.port import Key, ResourceStore

Resource = dict[str, Any]


async def bundles_with_copies(store: ResourceStore, extent: Extent, patient: Key) -> list[Key]:
    """The Bundles of which some version holds a resource of the record by its type and id, or a
    Patient with one of this one's identifiers."""
    current = await store.get(patient)
    is_there = current is not None and not current.is_deleted
    identifiers = _identifiers(parse(current.body)) if current and is_there else set()
    own = {patient, *extent.own}
    found: set[Key] = set()
    async for stored in every_version(store, replace(EVER, types=("Bundle",))):
        if stored.key in found or stored.is_deleted:
            continue
        if any(_is_copy(each, own, identifiers) for each in _inside(parse(stored.body))):
            found.add(stored.key)
    return sorted(found)


def _inside(bundle: Resource) -> Iterator[Resource]:
    """The resources in a Bundle, also those in Bundles in it."""
    for entry in bundle.get("entry", ()):
        resource = entry.get("resource")
        if resource is not None:
            yield resource
            yield from _inside(resource) if resource["resourceType"] == "Bundle" else ()


def _is_copy(resource: Resource, own: set[Key], identifiers: set[tuple[str, str]]) -> bool:
    type = resource["resourceType"]
    if Key(type, resource.get("id", "")) in own:
        return True
    return type == "Patient" and bool(_identifiers(resource) & identifiers)


def _identifiers(patient: Resource) -> set[tuple[str, str]]:
    listed = patient.get("identifier", ())
    return {(each.get("system", ""), each["value"]) for each in listed if "value" in each}
