"""Random callers: scopes, role, tenant, and emergency access under way."""

from dataclasses import dataclass
from random import Random

from bench.guard.ward import OTHER_TENANT, Ward
from fhir_server.security.labels import CONFIDENTIALITY
from fhir_server.security.principal import Principal

RESTRICTED = f"_security={CONFIDENTIALITY}|R"
SCOPES = (
    "patient/*.cruds",
    "patient/*.rs",
    "patient/Observation.rs patient/Patient.rs",
    "patient/*.rs user/Patient.rs",
    "patient/Observation.rs?status=final patient/Patient.rs patient/Encounter.rs",
    "user/Observation.rs patient/Patient.rs patient/Binary.rs patient/Provenance.rs",
    "user/*.rs?_tag=shared",
    "user/Encounter.rs",
    "user/*.cruds",
    "user/*.cruds",
    f"user/*.rs user/*.rs?{RESTRICTED}",
    f"patient/*.rs patient/*.rs?{RESTRICTED}",
    f"user/*.rs user/Observation.rs?_security={CONFIDENTIALITY}|R,{CONFIDENTIALITY}|V",
)
SERVICE_SCOPES = ("system/*.cruds", "system/*.rs", f"system/*.rs?{RESTRICTED}")


@dataclass(frozen=True)
class Caller:
    """Who asks, and the patients (ids) to whom they have emergency access."""

    principal: Principal
    emergencies: frozenset[str]


def random_caller(chance: Random, ward: Ward) -> Caller:
    """A caller of the ward, whose launch patient is its first."""
    kind = chance.choice(["doctor", "doctor", "doctor", "nurse", "service"])
    is_person = kind != "service"
    person = {"fhir_user": f"Practitioner/{ward.name}amina"} if is_person else {"fhir_user": None}
    principal = Principal(
        subject=f"{ward.name}user" if is_person else "app",
        client_id="app",
        name="Somebody",
        roles=frozenset({kind}) if is_person else frozenset(),
        scopes=chance.choice(SCOPES if is_person else SERVICE_SCOPES),
        patient=f"{ward.name}x" if is_person else None,
        encounter=None,
        session=None,
        tenant=chance.choice(["default", OTHER_TENANT]) if ward.has_tenants else "default",
        **person,
    )
    has_emergency = is_person and chance.random() < 0.25
    patients = frozenset({chance.choice(ward.patients)}) if has_emergency else frozenset()
    return Caller(principal, patients)
