"""A resource of another record system → our copy of it; pure.

A copy holds what the app shows and the analysis reads, nothing else: a list allows, so an element
that is not understood here is never carried along. It is known by a business identifier: system
is the issuer's base URL, value the id there, so the same id at two issuers is two patients.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smart_app.fhir_client import Resource

KEPT: Mapping[str, tuple[str, ...]] = {
    "Patient": (
        "active", "identifier", "name", "telecom", "gender", "birthDate", "deceasedBoolean",
        "deceasedDateTime", "address",
    ),
    "Practitioner": ("active", "name"),
    "Encounter": ("status", "class", "type", "period"),
    "AllergyIntolerance": (
        "clinicalStatus", "verificationStatus", "type", "category", "criticality", "code",
        "onsetDateTime", "recordedDate",
    ),
    "Observation": (
        "status", "category", "code", "effectiveDateTime", "effectiveInstant", "effectivePeriod",
        "issued", "valueQuantity", "valueCodeableConcept", "valueString", "valueInteger",
        "dataAbsentReason", "interpretation", "component",
    ),
}  # fmt: skip
"""Elements that are taken over. telecom and address let the analysis take them out of free text
before a language model reads it."""
SUBJECTS = {"Encounter": "subject", "AllergyIntolerance": "patient", "Observation": "subject"}
MEANING_CHANGES = frozenset({"modifierExtension", "implicitRules"})
WITHDRAWN = frozenset({"entered-in-error", "cancelled", "unknown", "registered"})
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
RESTRICTED = frozenset({"R", "V"})
_ALWAYS_DROPPED = frozenset({"extension", "id", "assigner"})


@dataclass(frozen=True)
class Chart:
    """Whose entries are copied: the issuer, the patient there, and our copy's id."""

    issuer: str
    patient: str
    copy: str


def business_identifier(issuer: str, id_: str) -> dict[str, str]:
    """How a copy is known: whose it is, and its id there."""
    return {"use": "secondary", "system": issuer, "value": id_}


def identified(issuer: str, id_: str) -> str:
    """The search for a copy, as a condition of a write."""
    return f"identifier={issuer}|{id_}"


def source_of(issuer: str, resource: Resource) -> str:
    """The address of a resource at its record system, with its version where it has one."""
    url = f"{issuer.rstrip('/')}/{resource['resourceType']}/{resource['id']}"
    version = resource.get("meta", {}).get("versionId")
    return f"{url}/_history/{version}" if version else url


def person_copy(issuer: str, resource: Resource) -> Resource | None:
    """The copy of a Patient or Practitioner; None when it is restricted, or must not be read
    without what we don't understand of it."""
    return _copy(issuer, resource)


def entry_copy(chart: Chart, resource: Resource) -> Resource | None:
    """The copy of an entry of the chart; None when it belongs to somebody else, is restricted, or
    must not be read without what we don't understand of it."""
    subject = SUBJECTS[resource["resourceType"]]
    reference = str(resource.get(subject, {}).get("reference", ""))
    if _local(chart.issuer, reference) != f"Patient/{chart.patient}":
        return None
    copied = _copy(chart.issuer, resource)
    if copied is not None:
        copied[subject] = {"reference": f"Patient/{chart.copy}"}
    return copied


def is_restricted(resource: Resource) -> bool:
    """Whether it is labelled as restricted (R, V). Such a resource is not copied: our guard would
    hide the copy from the app too, and the app would take what it can't see for absent."""
    labels = resource.get("meta", {}).get("security", ())
    return any(
        label.get("system", CONFIDENTIALITY) == CONFIDENTIALITY and label.get("code") in RESTRICTED
        for label in labels
    )


def is_withdrawn(resource: Resource) -> bool:
    """Whether the record system itself says that the entry is none (yet, or any more)."""
    return resource.get("status") in WITHDRAWN


def same_content(one: Resource, other: Resource) -> bool:
    """Whether two copies say the same; ids and what a server adds to `meta` don't count."""
    return _comparable(one) == _comparable(other)


def _copy(issuer: str, resource: Resource) -> Resource | None:
    if _changes_meaning(resource) or is_restricted(resource):
        return None
    type_ = resource["resourceType"]
    found = {name: _plain(resource[name]) for name in KEPT[type_] if name in resource}
    mine = business_identifier(issuer, str(resource["id"]))
    # Their numbers are for reading. With its system kept, one could claim to be another issuer's
    # business identifier, and so two patients to be one.
    others = [
        {name: part for name, part in each.items() if name != "system"}
        for each in found.get("identifier", ())
    ]
    labels = resource.get("meta", {}).get("security", [])
    meta = {"source": f"{issuer.rstrip('/')}/{type_}/{resource['id']}"}
    return {
        "resourceType": type_,
        "meta": {**meta, **({"security": _plain(labels)} if labels else {})},
        **found,
        "identifier": [*others, mine],
    }


def _changes_meaning(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(MEANING_CHANGES & value.keys()) or any(map(_changes_meaning, value.values()))
    return isinstance(value, list) and any(map(_changes_meaning, value))


def _plain(value: Any) -> Any:
    """The value without extensions and element ids, and without what is empty then."""
    if isinstance(value, dict):
        kept = {
            name: _plain(part)
            for name, part in value.items()
            if name not in _ALWAYS_DROPPED and not name.startswith("_")
        }
        return {name: part for name, part in kept.items() if part not in ({}, [], None)}
    if isinstance(value, list):
        return [part for part in map(_plain, value) if part not in ({}, [], None)]
    return value


def _local(issuer: str, reference: str) -> str:
    return reference.removeprefix(issuer.rstrip("/") + "/").split("/_history/")[0]


def _comparable(copy: Resource) -> Resource:
    meta = copy.get("meta", {})
    kept = {name: meta[name] for name in ("source", "security") if name in meta}
    return {**{k: v for k, v in copy.items() if k not in {"id", "meta", "text"}}, "meta": kept}
