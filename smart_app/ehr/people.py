"""Who launched the app from another record system: `fhirUser`, or the name in the id_token."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smart_app.ehr.copies import business_identifier, person_copy
from smart_app.fhir_client import FhirClient, FhirFailure, Resource
from smart_app.launch.scopes import allows
from smart_app.presenters.elements import show_name

_PERSON = re.compile(
    r"(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/([A-Za-z0-9_.-]{1,128})"
)
_CLINICIANS = frozenset({"Practitioner", "PractitionerRole"})


@dataclass(frozen=True)
class Clinician:
    """The person as known there. `key` is the value of their business identifier, None for who
    can't sign: an account that is no practitioner's (`is_other`), or nobody named. `copy` is the
    Practitioner to keep, made of `source`, or None of a mere name."""

    name: str
    reference: str | None = None
    key: str | None = None
    copy: Resource | None = None
    source: Resource | None = None
    is_other: bool = False


async def clinician(
    ehr: FhirClient, issuer: str, claims: Mapping[str, Any] | None, scope: str
) -> Clinician:
    """The clinician that verified claims name; claims are None when nobody could be verified."""
    if claims is None:
        return Clinician("")
    name = _name(claims)
    # SMART 1.0 had the person in `profile`.
    said = claims.get("fhirUser") or claims.get("profile") or ""
    local = str(said).removeprefix(issuer.rstrip("/") + "/")
    person = _PERSON.fullmatch(local)
    if person is None:
        return _by_name(issuer, claims, name)
    type_, id_ = person.groups()
    if type_ not in _CLINICIANS:
        return Clinician(name or local, local, is_other=True)
    found = await _practitioner(ehr, type_, id_, scope)
    copy = None if found is None else person_copy(issuer, found)
    if found is None or copy is None:
        key = id_ if type_ == "Practitioner" else f"{type_}:{id_}"
        return Clinician(name or local, local, key, _named(issuer, key, name or local))
    shown = show_name(found["name"], family_first=False) if found.get("name") else name or local
    return Clinician(shown, f"Practitioner/{found['id']}", found["id"], copy, found)


async def _practitioner(ehr: FhirClient, type_: str, id_: str, scope: str) -> Resource | None:
    try:
        if type_ == "PractitionerRole":
            if not allows(scope, type_, "r"):
                return None
            role = await ehr.read(type_, id_)
            type_, id_ = ehr.key(role.get("practitioner", {}).get("reference", ""))
        if type_ != "Practitioner" or not allows(scope, type_, "r"):
            return None
        found = await ehr.read(type_, id_)
    except (FhirFailure, AttributeError, TypeError):
        return None
    is_theirs = found.get("resourceType") == "Practitioner" and found.get("id") == id_
    return found if is_theirs else None


def _by_name(issuer: str, claims: Mapping[str, Any], name: str) -> Clinician:
    subject = claims.get("sub")
    if not name or not isinstance(subject, str) or not subject:
        return Clinician(name)
    # FHIR ids have no colon, so this never is somebody's id; a subject may have any character.
    key = f"sub:{hashlib.sha256(subject.encode()).hexdigest()}"
    return Clinician(name, None, key, _named(issuer, key, name))


def _named(issuer: str, key: str, name: str) -> Resource:
    return {
        "resourceType": "Practitioner",
        "identifier": [business_identifier(issuer, key)],
        "name": [{"text": name}],
    }


def _name(claims: Mapping[str, Any]) -> str:
    parts = [claims.get("given_name"), claims.get("family_name")]
    joined = " ".join(part for part in parts if isinstance(part, str))
    for candidate in (claims.get("name"), joined, claims.get("preferred_username")):
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip()[:200]
    return ""
