"""What a caller may see, by plain Python on the JSON: it knows neither terms nor expressions, and
nothing of how the guard is built."""

from collections.abc import Iterator
from typing import Any

from bench.guard.callers import Caller
from bench.guard.consent import verdict
from bench.guard.ward import Resource, Ward
from fhir_server.security.labels import CONFIDENTIALITY
from fhir_server.security.tenants import TENANTS

DEFINITIONS = ("ValueSet",)
SHARED = ("Practitioner", "PractitionerRole", "Organization", *DEFINITIONS)
REFERENCES = ("subject", "performer", "for", "patient", "securityContext", "target")


def texts(resource: Resource, *names: str) -> Iterator[str]:
    """The references in these elements."""
    for name in names:
        value = resource.get(name)
        for each in value if isinstance(value, list) else [value]:
            if each:
                yield each["reference"]


def labels(resource: Resource, system: str) -> set[str]:
    """The codes of its security labels in the system."""
    found = resource.get("meta", {}).get("security", [])
    return {each["code"] for each in found if each["system"] == system}


def patients_of(resource: Resource) -> set[str]:
    """The ids of the patients whom the resource is about."""
    type_ = resource["resourceType"]
    if type_ == "Patient":
        linked = {each["other"]["reference"] for each in resource.get("link", [])}
        return {resource["id"], *(each.removeprefix("Patient/") for each in linked)}
    found = texts(resource, *REFERENCES)
    return {each.removeprefix("Patient/") for each in found if each.startswith("Patient/")}


class Oracle:
    """The rules in words, for one caller in one ward."""

    def __init__(self, ward: Ward, caller: Caller) -> None:
        self._ward = ward
        self._caller = caller
        self._consents = [
            each
            for each in ward.resources.values()
            if each["resourceType"] == "Consent" and each["status"] == "active"
        ]

    def visible(self) -> list[Resource]:
        """All that the caller may see."""
        return [each for each in self._ward.resources.values() if self.sees(each)]

    def may_ask(self, type_: str) -> bool:
        """Whether the caller has any scope for the type."""
        return any(
            named in ("*", type_) and "r" in actions for _, named, actions, _ in self._scopes()
        )

    def sees(self, resource: Resource) -> bool:
        """Whether the caller may read the resource."""
        is_granted = any(self._grants(scope, resource) for scope in self._scopes())
        return is_granted and self._is_of_tenant(resource) and self._is_consented(resource)

    def _scopes(self) -> Iterator[tuple[str, str, str, str]]:
        for text in self._caller.principal.scopes.split():
            level, _, rest = text.partition("/")
            wanted, _, condition = rest.partition("?")
            type_, _, actions = wanted.partition(".")
            yield level, type_, actions, condition

    def _grants(self, scope: tuple[str, str, str, str], resource: Resource) -> bool:
        level, type_, actions, condition = scope
        if type_ not in ("*", resource["resourceType"]) or "r" not in actions:
            return False
        if level == "patient" and not self._is_own(resource):
            return False
        confidential = labels(resource, CONFIDENTIALITY)
        opened: set[str] = set()
        match condition.partition("=")[0]:
            case "status":
                if resource.get("status") != "final" or resource["resourceType"] != "Observation":
                    return False
            case "_tag":
                if "tag" not in resource.get("meta", {}):
                    return False
            case "_security":
                opened = {each[-1] for each in condition.split(",")}
                if not confidential & opened:
                    return False
        is_restricted = confidential & {"R", "V"} - opened
        return not is_restricted or bool(patients_of(resource) & self._caller.emergencies)

    def _is_own(self, resource: Resource) -> bool:
        """Whether it is in the compartment of the launch patient, or about nobody."""
        own = f"Patient/{self._caller.principal.patient}"
        type_ = resource["resourceType"]
        if type_ in SHARED:
            return True
        if own.removeprefix("Patient/") in patients_of(resource):
            return True
        match type_:
            case "Consent":
                return bool(resource["patient"]["reference"] == own)
            case "Device":
                return "patient" not in resource
            case "DocumentReference":
                return next(texts(resource, "subject")).startswith("Device/")
            case "Binary" | "Provenance":
                return any(self.sees(each) for each in self._followed(resource))
        return False

    def _followed(self, resource: Resource) -> list[Resource]:
        """The records that a Binary or Provenance is seen, or hidden, with."""
        named = texts(resource, "securityContext", "target")
        found = [self._ward.resources.get(each) for each in named]
        return [each for each in found if each and each["resourceType"] != "Patient"]

    def _had(self, binary: Resource) -> list[Resource]:
        """What has the Binary as its content, where it says no security context of its own."""
        if "securityContext" in binary:
            return []
        every = self._ward.resources.values()
        url = f"Binary/{binary['id']}"
        return [each for each in every if each.get("content", {}).get("url") == url]

    def _is_of_tenant(self, resource: Resource) -> bool:
        if not self._ward.has_tenants or resource["resourceType"] in DEFINITIONS:
            return True
        owner = labels(resource, TENANTS) or {"default"}
        return owner == {self._caller.principal.tenant}

    def _is_consented(self, resource: Resource) -> bool:
        type_ = resource["resourceType"]
        if type_ == "Consent":
            return True
        if type_ in ("Binary", "Provenance") and not all(
            self._is_consented(each) for each in self._followed(resource)
        ):
            return False
        if type_ == "Binary" and not all(self._is_consented(each) for each in self._had(resource)):
            return False
        about = patients_of(resource)
        said: list[str] = []
        for consent in self._consents:
            patient = consent["patient"]["reference"].removeprefix("Patient/")
            if patient in about and patient not in self._caller.emergencies:
                said += verdict(consent, resource, self._caller_facts())
        if "deny" in said:
            return False
        is_open = self._ward.consents_by_default or not about
        return is_open or "permit" in said or bool(about & self._caller.emergencies)

    def _caller_facts(self) -> dict[str, Any]:
        who = self._caller.principal
        if who.fhir_user is None:
            return {"names": set(), "is_person": False, "purposes": None}
        names = {who.fhir_user}
        role = self._ward.resources[f"PractitionerRole/{self._ward.name}role"]
        names.add(role["organization"]["reference"])
        return {"names": names, "is_person": True, "purposes": {"TREAT"}}
