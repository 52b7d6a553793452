"""R4 RESTful API, "batch": entries by themselves, each with its own outcome."""

import pytest

from tests.bundles import batch, entry
from tests.fhir_world import PATIENT, World, issues, observation, text_of


async def test_each_entry_has_its_own_outcome_in_the_order_sent(world: World) -> None:
    id = await world.create(PATIENT)
    response = await world.post(
        "",
        batch(
            entry("GET", f"Patient/{id}"),
            entry("POST", "Patient", PATIENT),
            entry("POST", "Observation", {"resourceType": "Observation", "status": "wrong"}),
            entry("GET", "Patient/nobody"),
            entry("PUT", "Patient/p1", PATIENT | {"id": "p1"}),
            entry("DELETE", f"Patient/{id}", ifMatch='W/"9"'),
        ),
    )
    assert response.status_code == 200
    bundle = response.json()
    assert bundle["type"] == "batch-response"
    statuses = [each["response"]["status"] for each in bundle["entry"]]
    assert statuses == [
        "200 OK",
        "201 Created",
        "400 Bad Request",
        "404 Not Found",
        "201 Created",
        "412 Precondition Failed",
    ]
    assert bundle["entry"][0]["resource"]["id"] == id
    assert bundle["entry"][1]["response"]["location"].startswith("Patient/")
    assert bundle["entry"][4]["response"]["etag"] == 'W/"1"'
    outcome = bundle["entry"][2]["response"]["outcome"]
    assert outcome["resourceType"] == "OperationOutcome"
    assert any("Observation" in each["expression"][0] for each in outcome["issue"])
    assert await world.count("Patient") == 3


async def test_each_entry_and_the_batch_leave_an_audit_record(world: World) -> None:
    await world.post("", batch(entry("POST", "Patient", PATIENT), entry("GET", "Patient/x")))
    journal = await world.journal()
    found = sorted((each["interaction"], each["outcome"]) for each in journal)
    assert found == [("batch", "success"), ("create", "success"), ("read", "refused")]


async def test_a_resource_without_a_request_is_refused_alone(world: World) -> None:
    answer = await world.post("", batch({"resource": PATIENT}, entry("POST", "Patient", PATIENT)))
    assert answer.status_code == 200
    refused, created = (each["response"] for each in answer.json()["entry"])
    assert refused["status"][:3] == "400"
    assert "needs a request" in refused["outcome"]["issue"][0]["diagnostics"]
    assert created["status"][:3] == "201"


async def test_an_entry_of_nothing_is_an_element_without_content(world: World) -> None:
    answer = await world.post("", batch({}, entry("POST", "Patient", PATIENT)))
    assert answer.status_code == 400
    assert "ele-1" in issues(answer)[0]["diagnostics"]
    assert await world.count("Patient") == 0


async def test_an_entry_that_asks_for_nothing_known_is_refused_by_name(world: World) -> None:
    response = await world.post(
        "",
        batch(
            entry("PATCH", "AuditEvent/p", PATIENT),
            entry("GET", "Nothing/p"),
            entry("POST", "/", {"resourceType": "Bundle", "type": "batch"}),
            entry("GET", "http://elsewhere.example/Patient/p"),
            entry("POST", "Patient"),
            entry("PUT", "Patient/p1", PATIENT | {"id": "p1"}, ifNoneExist="identifier=1"),
        ),
    )
    entries = response.json()["entry"]
    said = [each["response"]["outcome"]["issue"][0]["diagnostics"] for each in entries]
    assert [each["response"]["status"][:3] for each in entries] == [
        "405",
        "404",
        "400",
        "400",
        "400",
        "400",
    ]
    for text, name in zip(
        said,
        ("PATCH", "Nothing", "another", "elsewhere", "resource", "If-None-Exist"),
        strict=True,
    ):
        assert name in text
    assert await world.count("Patient") == 0


async def test_a_batch_without_entries_is_answered(world: World) -> None:
    response = await world.post("", {"resourceType": "Bundle", "type": "batch"})
    assert response.status_code == 200
    assert response.json() == {"resourceType": "Bundle", "type": "batch-response"}


async def test_a_batch_whose_own_structure_is_wrong_is_refused_whole(world: World) -> None:
    response = await world.post("", batch({"request": {"method": "FETCH", "url": "Patient/1"}}))
    assert response.status_code == 400
    assert issues(response)[0]["expression"] == ["Bundle.entry[0].request.method"]


async def test_entries_that_are_no_list_are_refused(world: World) -> None:
    for type in ("batch", "transaction"):
        response = await world.post("", {"resourceType": "Bundle", "type": type, "entry": 0})
        assert response.status_code == 400
        assert issues(response)[0]["expression"] == ["Bundle.entry"]


async def test_too_many_entries_are_refused_politely(world: World) -> None:
    many = batch(*(entry("GET", "Patient/p") for _ in range(10_001)))
    response = await world.post("", many)
    assert response.status_code == 413
    assert "10000" in text_of(response)


async def test_prefer_decides_what_the_entries_of_writes_hold(world: World) -> None:
    asked = batch(entry("POST", "Observation", observation()))
    plain = (await world.post("", asked)).json()["entry"][0]
    full = (await world.post("", asked, Prefer="return=representation")).json()["entry"][0]
    outcome = (await world.post("", asked, Prefer="return=OperationOutcome")).json()["entry"][0]
    assert "resource" not in plain
    assert full["resource"]["resourceType"] == "Observation"
    assert full["fullUrl"].endswith(full["resource"]["id"])
    assert outcome["response"]["outcome"]["issue"][0]["severity"] == "information"


@pytest.mark.parametrize(
    ("moment", "status"),
    [
        ("2024-02-29T23:59:60+14:00", "200 OK"),
        ("0001-01-01T00:00:00+14:00", "200 OK"),
        ("9999-12-31T23:59:59-12:00", "304 Not Modified"),
    ],
)
async def test_an_entry_may_ask_since_a_leap_second_or_the_ends_of_the_calendar(
    world: World, moment: str, status: str
) -> None:
    id = await world.create(PATIENT)
    asked = entry("GET", f"Patient/{id}", ifModifiedSince=moment)
    (answered,) = (await world.post("", batch(asked))).json()["entry"]
    assert answered["response"]["status"] == status
