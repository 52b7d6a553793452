"""Random wards: a few patients whose records refer to each other; labels, tenants and Consents."""

from dataclasses import dataclass
from random import Random
from typing import Any

from fhir_server.security.consents import (
    ACT_CODES,
    LOINC,
    PARTICIPATION,
    PURPOSES,
    RESOURCE_TYPES,
    SCOPES,
)
from fhir_server.security.labels import CONFIDENTIALITY
from fhir_server.security.tenants import TENANTS

Resource = dict[str, Any]

RECORDS = ("Encounter", "Observation", "Media", "Task", "DocumentReference", "Condition")
CODES = ("8867-4", "8310-5")
DOCUMENT_CODES = ("11506-3", "34133-9")
OTHER_TENANT = "north"
_SIZES = (5, 16)


@dataclass(frozen=True)
class Ward:
    """The resources by reference. All ids begin with `name`, so that wards never meet."""

    name: str
    resources: dict[str, Resource]
    has_tenants: bool
    consents_by_default: bool

    @property
    def patients(self) -> list[str]:
        """The ids of its patients."""
        return [f"{self.name}{letter}" for letter in "xyz"]


def random_ward(chance: Random, name: str) -> Ward:
    """A ward of its own."""
    ward = Ward(name, {}, chance.random() < 0.35, chance.random() < 0.75)
    made = [*_people(chance, ward)]
    made += [_record(chance, ward, number) for number in range(chance.randint(*_SIZES))]
    for number in range(chance.choice((0, 0, 1, 1, 2))):
        made.append(_consent(chance, ward, number))
    made.append(_composition(chance, ward))
    made += _contents(chance, ward, made)
    if ward.has_tenants:
        made.append({"resourceType": "ValueSet", "id": f"{name}v", "status": "active"})
    for each in made:
        _mark(chance, ward, each)
        ward.resources[f"{each['resourceType']}/{each['id']}"] = each
    return ward


def _contents(chance: Random, ward: Ward, made: list[Resource]) -> list[Resource]:
    """Binaries without a security context of their own; a Media has each as its content."""
    found: list[Resource] = []
    for media in (each for each in made if each["resourceType"] == "Media"):
        if chance.random() < 0.5:
            id_ = f"{ward.name}b{len(found)}"
            found.append({"resourceType": "Binary", "id": id_, "contentType": "text/plain"})
            media["content"] = {"url": f"Binary/{id_}"}
    return found


def _mark(chance: Random, ward: Ward, resource: Resource) -> None:
    """Labels and tags; in a ward with tenants each resource is somebody's."""
    meta: Resource = {}
    if chance.random() < 0.4:
        meta["tag"] = [{"code": "shared"}]
    labels = []
    if chance.random() < 0.3:
        labels.append({"system": CONFIDENTIALITY, "code": chance.choice("RRVNL")})
    if chance.random() < 0.1:
        labels.append({"system": ACT_CODES, "code": "PSY"})
    if ward.has_tenants and resource["resourceType"] != "ValueSet" and chance.random() < 0.4:
        labels.append({"system": TENANTS, "code": OTHER_TENANT})
    if labels:
        meta["security"] = labels
    if meta:
        resource["meta"] = meta


def _people(chance: Random, ward: Ward) -> list[Resource]:
    name = ward.name
    patients: list[Resource] = [
        {
            "resourceType": "Patient",
            "id": id_,
            "name": [{"family": chance.choice(["Mensah", "Okafor"])}],
            "generalPractitioner": [{"reference": f"Practitioner/{name}amina"}],
        }
        for id_ in ward.patients
    ]
    if chance.random() < 0.3:
        other = {"reference": f"Patient/{name}x"}
        patients[1]["link"] = [{"other": other, "type": "seealso"}]
    amina: Resource = {"resourceType": "Practitioner", "id": f"{name}amina"}
    role: Resource = {"resourceType": "PractitionerRole", "id": f"{name}role"}
    role |= {"practitioner": {"reference": f"Practitioner/{name}amina"}}
    role |= {"organization": {"reference": f"Organization/{name}here"}}
    return [*patients, amina | {"name": [{"family": "Diallo"}]}, role]


def _record(chance: Random, ward: Ward, number: int) -> Resource:
    type_ = chance.choice(
        [*RECORDS, "Observation", "Observation", "Encounter", "Binary", "Provenance", "Device"]
    )
    resource: Resource = {"resourceType": type_, "id": f"{ward.name}r{number}"}
    patient = {"reference": f"Patient/{chance.choice(ward.patients)}"}
    earlier = {"reference": f"{chance.choice(RECORDS)}/{ward.name}r{chance.randrange(16)}"}
    encounter = {"reference": f"Encounter/{ward.name}r{chance.randrange(16)}"}
    match type_:
        case "Observation":
            resource |= {"status": chance.choice(["final", "preliminary"]), "subject": patient}
            resource |= {"encounter": encounter, "code": _concept(chance.choice(CODES))}
            if chance.random() < 0.8:
                resource["effectiveDateTime"] = f"2026-0{chance.randint(1, 9)}-01"
            if chance.random() < 0.3:
                other = {"reference": f"Patient/{chance.choice(ward.patients)}"}
                resource["performer"] = [other]
        case "Condition":
            resource |= {"subject": patient, "code": _concept(chance.choice(CODES))}
        case "Task":
            resource |= {"status": "ready", "intent": "order", "for": patient, "focus": earlier}
        case "Media":
            content = {"contentType": "text/plain", "data": "eA=="}
            resource |= {"status": "completed", "subject": patient, "content": content}
        case "Binary":
            resource |= {"contentType": "text/plain", "data": "eA=="}
            if chance.random() < 0.9:
                resource["securityContext"] = chance.choice([patient, earlier])
        case "Provenance":
            resource["target"] = [earlier, chance.choice([patient, earlier])]
        case "Device":
            if chance.random() < 0.6:
                resource["patient"] = patient
        case "DocumentReference":
            subject = chance.choice([patient, {"reference": f"Device/{ward.name}r1"}])
            resource |= {"subject": subject, "type": _concept(chance.choice(DOCUMENT_CODES))}
        case _:
            resource["subject"] = patient
    return resource


def _composition(chance: Random, ward: Ward) -> Resource:
    named = f"{chance.choice(RECORDS)}/{ward.name}r{chance.randrange(16)}"
    return {
        "resourceType": "Composition",
        "id": f"{ward.name}d",
        "status": "final",
        "type": _concept(chance.choice(DOCUMENT_CODES)),
        "subject": {"reference": f"Patient/{chance.choice(ward.patients)}"},
        "date": "2026-03-01",
        "author": [{"reference": f"Practitioner/{ward.name}amina"}],
        "title": "Summary",
        "section": [{"title": "All", "entry": [{"reference": named}]}],
    }


def _concept(code: str) -> Resource:
    return {"coding": [{"system": LOINC, "code": code}]}


def _consent(chance: Random, ward: Ward, number: int) -> Resource:
    base = chance.choice(["OPTIN", "OPTIN", "OPTOUT", None])
    rules = [_provision(chance, ward, 0) for _ in range(chance.choice((0, 1, 1, 2)))]
    if base is None and not rules:
        rules = [{"type": "deny"}]
    made: Resource = {
        "resourceType": "Consent",
        "id": f"{ward.name}c{number}",
        "status": chance.choice(["active", "active", "active", "inactive"]),
        "scope": {"coding": [{"system": SCOPES, "code": "patient-privacy"}]},
        "patient": {"reference": f"Patient/{chance.choice(ward.patients)}"},
    }
    if base is not None:
        made["policyRule"] = {"coding": [{"system": ACT_CODES, "code": base}]}
    if rules:
        made["provision"] = {"provision": rules}
        if chance.random() < 0.2:
            made["provision"]["period"] = _period(chance)
    return made


def _provision(chance: Random, ward: Ward, depth: int) -> Resource:
    rule: Resource = {"type": chance.choice(["permit", "deny", "deny"])}
    conditions: dict[str, Any] = {
        "period": _period(chance),
        "actor": [_actor(chance, ward)],
        "purpose": [{"system": PURPOSES, "code": chance.choice(["TREAT", "HRESCH"])}],
        "class": [_class(chance)],
        "code": [_concept(chance.choice(CODES))],
        "securityLabel": [
            chance.choice(
                [
                    {"system": CONFIDENTIALITY, "code": chance.choice("LNR")},
                    {"system": ACT_CODES, "code": "PSY"},
                ]
            )
        ],
        "dataPeriod": {"start": f"2026-0{chance.randint(1, 5)}", "end": "2026-06"},
        "data": [{"meaning": "instance", "reference": {"reference": _named(chance, ward)}}],
    }
    for name in chance.sample(sorted(conditions), chance.choice((0, 1, 1, 2))):
        rule[name] = conditions[name]
    if depth < 1 and chance.random() < 0.3:
        rule["provision"] = [_provision(chance, ward, depth + 1)]
    return rule


def _period(chance: Random) -> Resource:
    return chance.choice(
        [{"start": "2026-01"}, {"end": "2026-01"}, {"start": "2026-01", "end": "2027-01"}]
    )


def _actor(chance: Random, ward: Ward) -> Resource:
    kind = chance.choice(["Practitioner/{}amina", "Practitioner/{}kofi", "Organization/{}here"])
    role = {"coding": [{"system": PARTICIPATION, "code": "PRCP"}]}
    return {"role": role, "reference": {"reference": kind.format(ward.name)}}


def _class(chance: Random) -> Resource:
    if chance.random() < 0.3:
        return {"system": LOINC, "code": chance.choice(DOCUMENT_CODES)}
    types = [*RECORDS, "Patient", "Binary"]
    return {"system": RESOURCE_TYPES, "code": chance.choice(types)}


def _named(chance: Random, ward: Ward) -> str:
    return f"{chance.choice(RECORDS)}/{ward.name}r{chance.randrange(16)}"
