"""What a principal may do: scopes, narrowed by role and compartment."""

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.evaluate import evaluate
from fhir_server.search.expression import EVERYTHING, NOTHING
from fhir_server.search.extract import Extractor
from fhir_server.search.registry import Registry
from fhir_server.security.access import OPEN_ACCESS, Access, Action, access_for
from fhir_server.security.circumstances import PLAIN
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.principal import Principal

BASE = "https://ward.example/fhir"
REGISTRY = Registry()
EXTRACT = with_guard_terms(Extractor(REGISTRY, BASE), BASE)
META = {"versionId": "1", "lastUpdated": "2026-11-24T02:00:00.000Z"}
CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"


def principal(scopes: str, role: str = "doctor", **more: Any) -> Principal:
    facts: dict[str, Any] = {
        "subject": "somebody",
        "client_id": "client",
        "name": "Somebody",
        "roles": frozenset({role}),
        "fhir_user": None,
        "patient": "x",
        "encounter": None,
        "session": None,
    }
    return Principal(scopes=scopes, **(facts | more))


def access(scopes: str, role: str = "doctor", **more: Any) -> Access:
    return access_for(principal(scopes, role, **more), REGISTRY, PLAIN)


def service(scopes: str) -> Access:
    """As the authorization server describes a backend service: no roles, itself the subject."""
    return access(scopes, subject="client", roles=frozenset(), patient=None)


def sees(view: Access, resource: dict[str, Any], action: Action = "r") -> bool:
    terms = EXTRACT({"id": "r", "meta": META, **resource})
    return evaluate(view.filter(resource["resourceType"], action), terms)


def observation(subject: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "subject": {"reference": subject}, **more}


@pytest.mark.parametrize(
    ("role", "type_", "actions"),
    [
        ("doctor", "Observation", "cruds"),
        ("doctor", "Practitioner", "rs"),
        ("doctor", "AuditEvent", ""),
        ("doctor", "Subscription", ""),
        ("nurse", "Observation", "crus"),
        ("nurse", "DiagnosticReport", "rs"),
        ("nurse", "MedicationRequest", "rs"),
        ("admin", "Patient", ""),
        ("admin", "Observation", ""),
        ("admin", "Practitioner", "cruds"),
        ("admin", "Subscription", "cruds"),
        ("admin", "AuditEvent", ""),
        ("auditor", "AuditEvent", "rs"),
        ("auditor", "Patient", ""),
        ("auditor", "Practitioner", "rs"),
        ("unheard-of", "Patient", ""),
    ],
)
def test_a_role_bounds_what_any_scope_gives(role: str, type_: str, actions: str) -> None:
    view = access("user/*.cruds", role)
    assert "".join(each for each in "cruds" if view.permits(type_, each)) == actions  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scopes", "actions"),
    [
        ("system/*.cruds", ""),
        ("system/AuditEvent.rs", "rs"),
        ("system/AuditEvent.cruds", "crus"),
        ("system/AuditEvent.c", "c"),
    ],
)
def test_a_service_needs_audit_events_by_name(scopes: str, actions: str) -> None:
    view = service(scopes)
    assert "".join(a for a in "cruds" if view.permits("AuditEvent", a)) == actions  # type: ignore[arg-type]


def test_an_app_may_add_audit_events_when_granted_by_name() -> None:
    assert access("user/AuditEvent.c").permits("AuditEvent", "c")
    assert not access("user/AuditEvent.crs").permits("AuditEvent", "r")
    assert not access("user/*.cruds").permits("AuditEvent", "c")


def test_system_scopes_are_for_services_alone() -> None:
    assert service("system/*.rs").filter("Patient") == EVERYTHING
    assert access("system/*.rs").filter("Patient") == NOTHING


def test_a_missing_permission_is_refused_by_name() -> None:
    view = access("user/Patient.rs")
    view.require("Patient", "r")
    with pytest.raises(FhirError, match=r"Observation\.c") as refusal:
        view.require("Observation", "c")
    assert refusal.value.status == 403


def test_patient_scopes_without_a_launch_patient_give_nothing() -> None:
    assert access("patient/*.cruds", patient=None).filter("Observation") == NOTHING


@pytest.mark.parametrize(
    ("resource", "is_seen"),
    [
        ({"resourceType": "Patient", "id": "x"}, True),
        ({"resourceType": "Patient", "id": "y"}, False),
        (observation("Patient/x"), True),
        (observation(f"{BASE}/Patient/x"), True),
        (observation("Patient/y"), False),
        (observation("https://elsewhere.example/fhir/Patient/x"), False),
        (observation("Patient/x1"), False),
        (observation("Patient/x/_history/2"), True),
        (observation("Group/x"), False),
        (observation("Patient/y", performer=[{"reference": "Patient/x"}]), True),
        ({"resourceType": "Observation"}, False),
        ({"resourceType": "Task", "for": {"reference": "Patient/x"}}, True),
        ({"resourceType": "Task", "for": {"reference": "Patient/y"}}, False),
        ({"resourceType": "Task"}, False),
        ({"resourceType": "Practitioner"}, True),
        ({"resourceType": "ValueSet"}, True),
        ({"resourceType": "Subscription"}, False),
        ({"resourceType": "Bundle"}, False),
        ({"resourceType": "Device"}, True),
        ({"resourceType": "Device", "patient": {"reference": "Patient/x"}}, True),
        ({"resourceType": "Device", "patient": {"reference": "Patient/y"}}, False),
        ({"resourceType": "Device", "patient": {"identifier": {"value": "1"}}}, False),
        ({"resourceType": "Device", "patient": {"display": "Kofi"}}, False),
        ({"resourceType": "Device", "contained": [{"resourceType": "Patient"}]}, False),
        ({"resourceType": "DocumentReference", "subject": {"reference": "Device/m"}}, True),
        ({"resourceType": "DocumentReference", "subject": {"reference": "Patient/x"}}, True),
        ({"resourceType": "DocumentReference", "subject": {"reference": "Patient/y"}}, False),
        (
            {
                "resourceType": "DocumentReference",
                "context": {"encounter": [{"reference": "Encounter/e"}]},
            },
            False,
        ),
        ({"resourceType": "Binary", "securityContext": {"reference": "Patient/x"}}, True),
    ],
)
def test_a_patient_scope_sees_one_compartment(resource: dict[str, Any], is_seen: bool) -> None:
    assert sees(access("patient/*.cruds"), resource) is is_seen


@pytest.mark.parametrize(
    ("resource", "may_write"),
    [
        (observation("Patient/x"), True),
        (observation("Patient/x/_history/2"), True),
        (observation("Patient/y", performer=[{"reference": "Patient/x"}]), False),
        (observation("Patient/x-1", performer=[{"reference": "Patient/x"}]), False),
        (observation("Patient/x1", performer=[{"reference": "Patient/x"}]), False),
        (observation("Patient/w", performer=[{"reference": "Patient/x"}]), False),
        ({"resourceType": "Practitioner"}, False),
        ({"resourceType": "Device"}, False),
        ({"resourceType": "DocumentReference", "subject": {"reference": "Device/m"}}, False),
        ({"resourceType": "Patient", "id": "x"}, True),
        ({"resourceType": "Patient", "id": "y"}, False),
    ],
)
def test_a_patient_scope_writes_about_that_patient_alone(
    resource: dict[str, Any], may_write: bool
) -> None:
    assert sees(access("patient/*.cruds"), resource, "u") is may_write


def test_a_user_scope_widens_a_patient_scope() -> None:
    view = access("patient/*.rs user/Patient.rs")
    assert view.filter("Patient") == EVERYTHING
    assert not sees(view, observation("Patient/y"))


def test_a_granular_scope_is_judged_on_the_resource() -> None:
    view = access(f"patient/Observation.rs?category={CATEGORIES}|laboratory user/Patient.r")
    lab = {"category": [{"coding": [{"system": CATEGORIES, "code": "laboratory"}]}]}
    vital = {"category": [{"coding": [{"system": CATEGORIES, "code": "vital-signs"}]}]}
    assert sees(view, observation("Patient/x", **lab))
    assert not sees(view, observation("Patient/x", **vital))
    assert not sees(view, observation("Patient/y", **lab))
    assert not view.permits("Observation", "c")


@pytest.mark.parametrize(
    "query",
    [
        "catgory=x",
        "category:bogus=x",
        "patient.name=x",
        "_has:Group:member:_id=1",
        "date=ap2026",
        "_filter=date ap 2026",
        "_filter=date ap 2015-01-01T00:00:00Z",
        "_filter=not (patient.name eq x)",
        "_filter=code in http://example.org/any",
        "_filter=category is x",
    ],
)
def test_a_granular_scope_that_cannot_be_honoured_is_refused(query: str) -> None:
    with pytest.raises(FhirError) as refusal:
        access(f"user/Observation.rs?{query} user/Observation.rs")
    assert refusal.value.status == 403
    assert "Scope user/Observation.rs" in str(refusal.value)


def test_a_filter_in_a_granular_scope_is_judged_on_the_resource() -> None:
    view = access("patient/Observation.rs?_filter=not%20(category%20eq%20vital-signs)")
    lab = {"category": [{"coding": [{"system": CATEGORIES, "code": "laboratory"}]}]}
    vital = {"category": [{"coding": [{"system": CATEGORIES, "code": "vital-signs"}]}]}
    assert sees(view, observation("Patient/x", **lab))
    assert not sees(view, observation("Patient/x", **vital))
    assert not sees(view, observation("Patient/y", **lab))


def test_a_scope_does_not_depend_on_what_day_it_is() -> None:
    with pytest.raises(FhirError, match="depend on the time"):
        access("user/Patient.rs?age=gt18")


def test_a_wildcard_with_a_query_gives_nothing_of_types_that_lack_the_parameter() -> None:
    view = access("user/*.rs?category=x")
    assert view.filter("Patient") == NOTHING
    assert view.filter("Observation") not in (NOTHING, EVERYTHING)


def test_a_cursor_binding_changes_with_every_right() -> None:
    one = access("user/*.rs").binding
    assert access("user/*.rs").binding == one
    others = [
        access("user/*.r"),
        access("user/*.rs", patient="y"),
        access("user/*.rs", "nurse"),
        access("user/*.rs", subject="other"),
        access("user/*.rs", client_id="other"),
        access("user/*.rs", tenant="other"),
        OPEN_ACCESS,
    ]
    assert len({one, *(each.binding for each in others)}) == 1 + len(others)


def test_open_access_deletes_no_audit_events() -> None:
    assert OPEN_ACCESS.filter("Patient", "d") == EVERYTHING
    assert not OPEN_ACCESS.permits("AuditEvent", "d")


SPEC = Path(__file__).parents[2].parent / "shared" / "spec" / "hl7.fhir.r4.core-4.0.1.tar.xz"


@pytest.mark.shared
@pytest.mark.skipif(not SPEC.exists(), reason="the official R4 package is not beside the checkout")
def test_the_compartment_table_is_what_the_generator_makes() -> None:
    from fhir_server.fhir.definitions import generate_compartments

    made = {"compartments": generate_compartments.compartments(SPEC)}
    assert json.loads(generate_compartments.TARGET.read_text()) == made


def test_every_compartment_parameter_can_be_searched() -> None:
    from fhir_server.fhir.compartments import compartments, patient_parameters

    for type_ in [*compartments()["Patient"], "Task", "Device", "Contract", "GuidanceResponse"]:
        for code in patient_parameters(type_):
            parameter = REGISTRY.parameter(type_, code)
            assert parameter is not None, (type_, code)
            assert parameter.is_searchable, (type_, code)
            assert parameter.kind == "reference", (type_, code)
