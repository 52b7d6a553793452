"""SMART App Launch 2.2, "Scopes for requesting FHIR Resources"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.security.scopes import (
    ACTIONS,
    RefusedScope,
    ResourceScope,
    Scopes,
    parse_scope,
    parse_scopes,
)

LAB = ("category", "http://terminology.hl7.org/CodeSystem/observation-category|laboratory")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("patient/Observation.rs", ("patient", "Observation", "rs")),
        ("user/*.cruds", ("user", "*", "cruds")),
        ("system/Patient.c", ("system", "Patient", "c")),
        ("patient/Observation.read", ("patient", "Observation", "rs")),
        ("user/Task.write", ("user", "Task", "cud")),
        ("patient/*.*", ("patient", "*", "cruds")),
    ],
)
def test_v1_and_v2_scopes_are_read_as_actions(text: str, meaning: tuple[str, str, str]) -> None:
    scope = parse_scope(text)
    assert isinstance(scope, ResourceScope)
    assert (scope.level, scope.type, scope.actions) == (*meaning[:2], frozenset(meaning[2]))


@pytest.mark.parametrize(
    "text",
    [
        "patient/Observation.sr",  # out of order
        "patient/Observation.rr",
        "patient/Observation.",
        "patient/Observation.reads",
        "patient/observation.rs",
        "group/Observation.rs",
        "patient/Observation",
        "patient/Observation.rs?",
        "patient/Observation.rs?category",
        "patient/Observation.rs?category=",
        "patient/Observation.rs?=x",
        "patient/*x.rs",
        "Patient/Observation.rs",
    ],
)
def test_a_malformed_scope_grants_nothing_and_says_why(text: str) -> None:
    scopes = parse_scopes(text)
    assert scopes.resources == ()
    assert [refused.text for refused in scopes.refused] == [text]
    assert scopes.refused[0].reason


def test_a_query_is_kept_as_pairs_and_written_back() -> None:
    text = f"patient/Observation.rs?category={LAB[1]}&status=final"
    scope = parse_scope(text)
    assert isinstance(scope, ResourceScope)
    assert scope.query == {LAB, ("status", "final")}
    assert parse_scope(str(scope)) == scope


def test_contexts_are_recognised_beside_resources() -> None:
    scopes = parse_scopes("openid fhirUser launch/patient offline_access patient/Patient.rs")
    assert scopes.contexts == {"openid", "fhirUser", "launch/patient", "offline_access"}
    assert scopes.needs_patient
    assert not parse_scopes("openid user/*.cruds system/*.rs").needs_patient


@pytest.mark.parametrize(
    ("allowed", "asked", "is_contained"),
    [
        ("user/*.cruds", "user/Patient.rs", True),
        ("user/Patient.rs", "user/*.rs", False),
        ("user/Patient.rs", "user/Patient.rus", False),
        ("user/Patient.r user/Patient.s", "user/Patient.rs", True),
        ("user/Patient.rs", "patient/Patient.rs", False),
        ("user/Observation.rs", "user/Observation.rs?code=1", True),
        ("user/Observation.rs?code=1", "user/Observation.rs", False),
        ("user/Observation.rs?code=1", "user/Observation.rs?code=1&status=final", True),
        ("user/Observation.rs?code=1", "user/Observation.rs?code=2", False),
        ("user/*.read", "user/Patient.rs", True),
        ("system/*.cruds", "system/AuditEvent.rs", False),
        ("system/AuditEvent.rs", "system/AuditEvent.r", True),
        ("system/*.cruds", "system/*.rs", True),
        ("launch openid", "launch", True),
        ("openid", "launch", False),
    ],
)
def test_containment_is_set_inclusion_per_action(
    allowed: str, asked: str, is_contained: bool
) -> None:
    assert parse_scopes(allowed).contains(parse_scopes(asked)) is is_contained


@pytest.mark.parametrize(
    ("asked", "allowed", "granted"),
    [
        ("user/*.cruds", "user/Patient.rs", "user/Patient.rs"),
        ("user/Patient.cruds", "user/*.rs", "user/Patient.rs"),
        ("user/Patient.cud", "user/Patient.rs", ""),
        ("patient/Patient.rs", "user/Patient.rs", ""),
        (
            "user/Observation.rs?code=1",
            "user/Observation.s?status=final",
            "user/Observation.s?code=1&status=final",
        ),
        ("user/*.rs user/Patient.r", "user/Patient.rs", "user/Patient.rs"),
        ("system/AuditEvent.rs system/Patient.r", "system/*.cruds", "system/Patient.r"),
        ("system/*.rs", "system/AuditEvent.rs system/Patient.rs", "system/Patient.rs"),
        ("system/AuditEvent.r", "system/*.r system/AuditEvent.rs", "system/AuditEvent.r"),
        ("launch openid user/*.rs", "launch user/*.cruds", "launch user/*.rs"),
    ],
)
def test_a_grant_is_what_is_asked_and_allowed(asked: str, allowed: str, granted: str) -> None:
    assert str(parse_scopes(asked).meet(parse_scopes(allowed))) == granted


LEVELS = st.sampled_from(["patient", "user", "system"])
SCOPES = st.builds(
    ResourceScope,
    LEVELS,
    st.sampled_from(["*", "Patient", "Observation", "AuditEvent"]),
    st.frozensets(st.sampled_from(list(ACTIONS)), min_size=1),
    st.frozensets(st.sampled_from([("code", "a|b"), ("status", "final"), ("x", "& =?%")])),
)
SETS = st.builds(Scopes, st.lists(SCOPES, max_size=4).map(tuple))


@given(SCOPES)
def test_what_is_written_is_read_back(scope: ResourceScope) -> None:
    assert parse_scope(str(scope)) == scope


@given(SETS, SETS)
def test_a_meet_is_contained_in_both(one: Scopes, other: Scopes) -> None:
    meet = one.meet(other)
    assert one.contains(meet)
    assert other.contains(meet)


@given(SETS, SETS)
def test_what_is_contained_survives_the_meet(one: Scopes, other: Scopes) -> None:
    if one.contains(other):
        assert one.meet(other).contains(other)


@given(st.text(max_size=40))
def test_any_text_is_a_scope_or_refused(text: str) -> None:
    parsed = parse_scope(text)
    assert isinstance(parsed, RefusedScope) or parse_scope(str(parsed)) == parsed
