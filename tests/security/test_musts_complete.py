"""No MUST is forgotten: each SHALL of SMART 2.2.0 for servers about launch, scopes, context and
conformance has a test that breaks it, a test elsewhere, or a reason why it can't be broken; and so
has each of the twenty points of the checklist."""

import csv
import re
from collections.abc import Mapping
from functools import cache

import pytest

from tests.availability import ROOT, reference
from tests.security import test_musts_authorize, test_musts_context, test_musts_scopes

BROKEN = {
    *test_musts_authorize.BREAKS,
    *test_musts_context.BREAKS,
    *test_musts_scopes.BREAKS,
}
PAGES = frozenset({"app-launch.html", "scopes-and-launch-context.html", "conformance.html"})
SPEC, SECURITY = "tests/spec/test_smart_", "tests/security/test_oauth_"
_TOKEN = f"{SPEC}token.py::test_a_code_is_exchanged_for_a_bearer_token_that_is_not_to_be_stored"
_REFRESHED = f"{SPEC}refresh.py::test_a_refresh_gives_a_new_access_token_and_a_new_refresh_token"
_ERRORS = f"{SPEC}token.py::test_errors_are_those_of_rfc_6749"
_JSON = (
    f"{SPEC}discovery.py::"
    "test_documents_are_json_to_any_origin_without_a_token_whatever_is_accepted"
)
_MEMBERS = f"{SPEC}discovery.py::test_the_smart_document_has_what_smart_demands"
_LISTED = f"{SPEC}discovery.py::test_every_capability_listed_has_a_proof_here"
ELSEWHERE: Mapping[int, str] = {
    24: f"{SPEC}registration.py::test_an_unsound_client_is_refused_by_name",
    30: _JSON,
    73: _ERRORS,
    **dict.fromkeys((74, 75, 78, 84, 85, 86, 87, 88), _TOKEN),
    89: f"{SPEC}refresh.py::test_without_online_or_offline_access_there_is_no_refresh_token",
    **dict.fromkeys((110, 111, 112, 113), _REFRESHED),
    **dict.fromkeys(range(348, 372), _LISTED),
    **dict.fromkeys((372, 374, 377, 378, 380), _JSON),
    **dict.fromkeys((373, 381, 382, 383, 384, 385, 393, 394), _MEMBERS),
    198: "tests/security/test_musts_context.py::test_who_signs_in_is_one_of_five_kinds_of_person",
}
NOT_BREAKABLE: Mapping[int, str] = {
    194: "what an intent means is agreed upon between people; docs/integrating.md lists ours",
}
CHECKLIST: Mapping[int, tuple[int | str, ...]] = {
    1: (16, 372, 377),
    2: (15, 384, 393, 394),
    3: (32, 33, 34, 35, 37, 39, 41, 44, 48, 49),
    4: (18, 54, 56, 57, 59),
    5: (31, f"{SECURITY}misuse.py::test_of_many_at_once_exactly_one_redeems_the_code"),
    6: (74, 86, 87),
    7: (94, 95, 96),
    8: (103, 109, 110),
    9: (100, 101),
    10: (119, 120, 121, 122, 123, 124, 125, 128, 129),
    11: (132,),
    12: (130,),
    13: (136, 164, 170),
    14: (149, 168, 171, 172, 173, 174, 175, 176),
    15: (200, 207, 209, 210),
    16: (16, 17),
    17: (f"{SPEC}backend.py::test_the_same_assertion_is_accepted_once",),
    18: (f"{SPEC}backend.py::test_a_service_gets_a_short_lived_token_for_its_system_scopes",),
    19: (
        f"{SPEC}introspection.py::"
        "test_a_resource_server_is_told_scope_client_expiry_context_and_person",
        f"{SPEC}introspection.py::test_every_launch_parameter_of_the_token_response_is_told",
    ),
    20: (_LISTED,),
}


@cache
def _functions(path: str) -> frozenset[str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("named", sorted(set(ELSEWHERE.values())))
def test_a_test_that_is_named_exists(named: str) -> None:
    path, _, function = named.partition("::")
    assert function in _functions(path)


def test_each_point_of_the_checklist_names_tests_that_exist() -> None:
    for point, named in CHECKLIST.items():
        for each in named:
            if isinstance(each, int):
                assert each in BROKEN | ELSEWHERE.keys(), (point, each)
            else:
                path, _, function = each.partition("::")
                assert function in _functions(path), (point, each)


@pytest.mark.shared
def test_every_must_of_the_list_is_accounted_for() -> None:
    path = reference("spec/requirements/smart-app-launch.csv")
    with path.open(encoding="utf-8-sig", newline="") as listed:
        rows = [row for row in csv.DictReader(listed) if row["Req Set"].endswith("_2.2.0")]
    musts = {
        int(row["ID"]): " ".join(row["Requirement"].split())
        for row in rows
        if row["Conformance"] in ("SHALL", "SHALL NOT")
        and row["Actors"] == "Server"
        and row["URL"].rpartition("/")[2].partition("#")[0] in PAGES
    }
    assert len(musts) > 100
    known = BROKEN | ELSEWHERE.keys() | NOT_BREAKABLE.keys()
    assert {id: text for id, text in musts.items() if id not in known} == {}
