"""Journal records as AuditEvents: R4, and the patterns of IHE BALP 1.1.5."""

import base64
import uuid
from typing import Any

import orjson
import pytest

from fhir_server.audit.event import audit_event
from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.kinds import KINDS
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Key
from fhir_server.validation.validate import Validator
from tests.audit_world import AT, BASE, DOCTOR, WORKER

# BALP 1.1.5: the DICOM (or other) codes of the client, the server and the user agent.
BALP_AGENTS = {
    "IHE.BasicAudit.Create": ("110153", "110152", "AUT"),
    "IHE.BasicAudit.Read": ("110152", "110153", "IRCP"),
    "IHE.BasicAudit.Update": ("110153", "110152", "AUT"),
    "IHE.BasicAudit.Delete": ("110150", "custodian", "AUT"),
    "IHE.BasicAudit.Query": ("110153", "110152", "IRCP"),
}
BALP_ACTIONS = {"Create": "C", "Read": "R", "Update": "U", "Delete": "D", "Query": "E"}


def trail(principal: Principal | None = DOCTOR, **more: Any) -> AuditTrail:
    given = {"address": "192.0.2.7", "request_id": "r-1", **more}
    return AuditTrail(principal, lambda: AT, lambda: str(uuid.uuid4()), BASE, **given)


def event(principal: Principal | None = DOCTOR, **record: Any) -> dict[str, Any]:
    record = {"outcome": "success", "status": 200, **record}
    return audit_event(trail(principal).entry(**record))


def entities(resource: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [each for each in resource["entity"] if each.get("role", {}).get("code") == role]


def agent_codes(resource: dict[str, Any]) -> list[str]:
    return [agent["type"]["coding"][0]["code"] for agent in resource["agent"]]


@pytest.mark.parametrize("interaction", sorted(KINDS))
@pytest.mark.parametrize("outcome", ["success", "refused", "failed"])
@pytest.mark.parametrize("principal", [DOCTOR, WORKER, None], ids=["doctor", "worker", "nobody"])
@pytest.mark.parametrize("is_full", [True, False], ids=["full", "bare"])
def test_every_kind_of_record_becomes_a_valid_audit_event(
    interaction: str, outcome: str, principal: Principal | None, is_full: bool
) -> None:
    more: dict[str, Any] = {}
    if is_full:
        more = {"key": Key("Observation", "o1"), "version": 2, "query": "Observation?code=1"}
        more |= {"patient": "kofi", "detail": "a sentence"}
    made = event(principal, interaction=interaction, outcome=outcome, status=418, **more)
    assert [str(issue) for issue in Validator().issues(made)] == []


@pytest.mark.parametrize(
    ("interaction", "profile"),
    [
        ("create", "Create"),
        ("read", "Read"),
        ("vread", "Read"),
        ("update", "Update"),
        ("patch", "Update"),
        ("delete", "Delete"),
        ("search-type", "Query"),
    ],
)
@pytest.mark.parametrize("patient", ["kofi", None])
def test_a_success_has_the_agents_and_entities_of_its_balp_profile(
    interaction: str, profile: str, patient: str | None
) -> None:
    query = "Observation?code=8310-5" if profile == "Query" else None
    key = None if profile == "Query" else Key("Observation", "o1")
    made = event(interaction=interaction, key=key, patient=patient, query=query)
    name = f"IHE.BasicAudit.{'Patient' if patient else ''}{profile}"
    assert made["meta"]["profile"] == [
        f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/{name}"
    ]
    assert made["type"]["code"] == "rest"
    assert made["action"] == BALP_ACTIONS[profile]
    assert made["outcome"] == "0"
    assert agent_codes(made) == list(BALP_AGENTS[f"IHE.BasicAudit.{profile}"])
    client, server, user = made["agent"]
    assert {"address", "type"} == client["network"].keys() == server["network"].keys()
    assert "network" not in user
    assert [each["requestor"] for each in made["agent"]] == [False, False, True]
    assert [each["type"]["code"] for each in made["entity"]].count("2") == 1
    assert len(entities(made, "1")) == (1 if patient else 0)
    if profile == "Query":
        (asked,) = entities(made, "24")
        assert base64.b64decode(asked["query"]).decode() == query
        assert "what" not in asked
    else:
        (concerned,) = entities(made, "4")
        assert concerned["what"] == {"reference": "Observation/o1"}
    request = next(each for each in made["entity"] if each["type"]["code"] == "XrequestId")
    assert request["what"]["identifier"]["value"] == "r-1"


def test_the_person_is_found_by_reference_name_and_login() -> None:
    user = event(interaction="read", key=Key("Patient", "kofi"))["agent"][2]
    assert user["who"]["reference"] == "Practitioner/dr-amina"
    assert user["name"] == "Dr Amina Diallo"
    assert user["altId"] == "dr.amina"
    assert user["role"][0]["coding"][0]["code"] == "doctor"


def test_a_backend_service_is_the_requestor_itself() -> None:
    made = event(WORKER, interaction="create", key=Key("Observation", "o1"))
    assert [agent["requestor"] for agent in made["agent"]] == [True, False]
    assert made["agent"][0]["who"]["identifier"]["value"] == "medsage-worker"


def test_a_refusal_of_somebody_unknown_says_why() -> None:
    made = event(None, interaction="read", outcome="refused", status=401, detail="token expired")
    assert (made["outcome"], made["outcomeDesc"]) == ("4", "401: token expired")
    assert "meta" not in made
    assert made["agent"][0]["who"] == {"display": "unknown client"}


def test_the_patient_of_a_search_is_recognised() -> None:
    made = event(interaction="search-type", query="Observation?subject=Patient%2Fkofi&code=1")
    assert [each["what"]["reference"] for each in entities(made, "1")] == ["Patient/kofi"]
    several = event(interaction="search-type", query="Observation?patient=a&patient=b")
    assert entities(several, "1") == []


def test_the_record_id_and_time_are_the_events() -> None:
    entry = trail().entry(interaction="read", outcome="success", status=200)
    made = audit_event(entry)
    assert made["id"] == orjson.loads(entry)["id"]
    assert made["recorded"] == "2026-11-24T02:00:00.123Z"


@pytest.mark.parametrize("entry", [b"", b"{", b"[]", b'{"interaction":"read"}', b"\xff\xfe"])
def test_a_broken_record_still_leaves_an_event(entry: bytes) -> None:
    made = audit_event(entry)
    assert made["outcome"] == "8"
    assert list(Validator().issues(made)) == []
    assert audit_event(entry) == made


def test_an_unknown_interaction_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="frobnicate"):
        trail().entry(interaction="frobnicate", outcome="success", status=200)
