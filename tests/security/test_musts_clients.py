"""No MUST about clients and tokens is forgotten: each SHALL of SMART 2.2.0 for servers on the pages
about client authentication, backend services and introspection has a test that breaks it or, where
it says what an answer holds, reads it."""

import csv
import re
from collections.abc import Mapping
from functools import cache

import pytest

from tests.availability import ROOT, reference

PAGES = frozenset(
    {"backend-services.html", "token-introspection.html", "client-authentication.html"}
    | {"client-confidential-asymmetric.html", "client-confidential-symmetric.html"}
)
_SPEC, _SECURITY = "tests/spec/test_smart_", "tests/security/test_"
_DOCUMENT = f"{_SPEC}discovery.py::test_the_smart_document_has_what_smart_demands"
_ADVERTISED = f"{_SPEC}discovery_walk.py::test_an_advertised_member_works_as_advertised"
_SERVICE = f"{_SPEC}backend.py::test_a_service_gets_a_short_lived_token_for_its_system_scopes"
_NARROWED = f"{_SPEC}backend.py::test_a_wider_scope_is_narrowed_to_what_is_registered"
_BEYOND = (
    f"{_SPEC}backend.py::test_a_scope_that_is_not_registered_is_an_invalid_scope_not_an_empty_token"
)
_WRONG_CLAIM = f"{_SPEC}backend.py::test_an_assertion_with_a_wrong_claim_is_an_invalid_client"
_TOLD = (
    f"{_SPEC}introspection.py::"
    "test_a_resource_server_is_told_scope_client_expiry_context_and_person"
)
MUSTS: Mapping[int, str] = {
    228: _DOCUMENT,
    231: f"{_SECURITY}musts_clients.py::test_the_published_door_speaks_tls_of_today_alone",
    240: _BEYOND,
    241: _NARROWED,
    247: f"{_SECURITY}oauth_tokens_misuse.py::test_a_header_without_a_bearer_token_is_refused",
    249: f"{_SPEC}backend.py::test_a_stranger_key_under_a_known_kid_is_refused",
    250: _BEYOND,
    251: _WRONG_CLAIM,
    **dict.fromkeys((253, 254, 255, 256, 258, 261), _SERVICE),
    259: _NARROWED,
    265: f"{_SECURITY}oauth_tokens_misuse.py::"
    "test_an_expired_token_is_refused_even_when_it_was_seen_before",
    266: f"{_SECURITY}guard_http.py::test_a_type_without_scope_is_forbidden",
    271: f"{_SPEC}introspection.py::test_who_does_not_prove_itself_is_refused",
    272: f"{_SPEC}introspection.py::test_a_token_that_is_not_good_is_inactive_and_nothing_else",
    **dict.fromkeys((273, 274, 275, 276, 278, 279), _TOLD),
    277: f"{_SPEC}introspection.py::test_every_launch_parameter_of_the_token_response_is_told",
    282: f"{_SPEC}introspection.py::test_a_resource_server_may_ask_by_its_own_bearer_token",
    283: f"{_SPEC}introspection.py::test_a_resource_server_may_ask_by_its_own_bearer_token",
    285: f"{_SPEC}discovery.py::test_every_capability_listed_has_a_proof_here",
    **dict.fromkeys((286, 287, 288, 289), _ADVERTISED),
    296: f"{_SPEC}dynamic_registration.py::"
    "test_a_backend_service_registers_the_address_of_its_keys",
    297: f"{_SPEC}dynamic_registration.py::"
    "test_a_backend_service_registers_its_key_and_gets_a_token_once_approved",
    305: f"{_SPEC}dynamic_registration.py::test_a_registration_is_opened_by_its_own_token_alone",
    310: f"{_SPEC}key_sets.py::test_both_algorithms_work_with_keys_by_address_fetched_once",
    316: f"{_SPEC}dynamic_registration.py::"
    "test_a_registration_is_answered_with_what_was_registered",
    335: _WRONG_CLAIM,
    336: f"{_SECURITY}oauth_clients_misuse.py::"
    "test_an_assertion_is_spent_at_whichever_endpoint_it_came_to_first",
    337: f"{_SECURITY}oauth_clients_misuse.py::"
    "test_the_client_id_beside_an_assertion_must_be_its_subject",
    338: f"{_SPEC}key_sets.py::test_jku_is_honoured_when_it_is_the_registered_address_alone",
    339: f"{_SECURITY}checked_fetch.py::test_a_key_set_is_fetched_with_host_and_no_secrets",
    340: _WRONG_CLAIM,
    341: f"{_SPEC}key_sets.py::test_a_set_is_kept_no_longer_than_its_cache_control_says",
    342: f"{_SPEC}key_sets.py::test_a_set_is_read_anew_after_its_max_age_and_not_before",
    344: f"{_SPEC}client_secret.py::test_a_secret_is_for_apps_alone_and_the_only_proof",
}


def test_the_published_door_speaks_tls_of_today_alone() -> None:
    text = (ROOT / "deploy/nginx/nginx.conf").read_text("utf-8")
    assert re.findall(r"ssl_protocols ([^;]+);", text) == ["TLSv1.2 TLSv1.3"]
    listening = re.findall(r"listen (\d+)[^;]*ssl", text)
    assert listening == ["8443"]


@cache
def _functions(path: str) -> frozenset[str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


def test_each_must_names_a_test_that_exists() -> None:
    for named in set(MUSTS.values()):
        path, _, function = named.partition("::")
        assert function in _functions(path), named


@pytest.mark.shared
def test_every_must_of_the_list_has_its_test() -> None:
    path = reference("spec/requirements/smart-app-launch.csv")
    with path.open(encoding="utf-8-sig", newline="") as listed:
        rows = [row for row in csv.DictReader(listed) if row["Req Set"].endswith("_2.2.0")]
    musts = {
        int(row["ID"])
        for row in rows
        if row["Conformance"] in ("SHALL", "SHALL NOT")
        and row["Actors"] == "Server"
        and row["URL"].rpartition("/")[2].partition("#")[0] in PAGES
    }
    assert len(musts) > 40
    assert musts == set(MUSTS)
