"""R4 Patient $everything and Encounter $everything."""

import json

import pytest

from tests.fhir_world import World, text_of
from tests.operation_world import (
    caller,
    measured,
    named,
    names_in,
    next_of,
    parameters,
    place,
    store_all,
    world,
)

__all__ = ["place", "world"]

WARD = (
    named(
        "Patient", "a", generalPractitioner=[{"reference": "Practitioner/house"}],
        link=[{"other": {"reference": "Patient/b"}, "type": "seealso"}],
    ),
    named("Patient", "b"),
    named("Practitioner", "house"),
    named("Practitioner", "unnamed"),
    named("Organization", "lab", name="Lab"),
    named("Binary", "scan", contentType="image/png"),
    measured("a1", "a", effectiveDateTime="2024-02-01",
             performer=[{"reference": "Practitioner/house"}, {"reference": "Organization/lab"}]),
    measured("a2", "a", effectiveDateTime="2024-03-01",
             performer=[{"reference": "http://fhir.example/fhir/Organization/lab/_history/1"}]),
    measured("a3", "a"),
    measured("b1", "b", effectiveDateTime="2024-02-01"),
    named("Encounter", "visit", status="finished", **{"class": {"code": "AMB"}},
          subject={"reference": "Patient/a"}, period={"start": "2024-02-01", "end": "2024-02-03"}),
    named("Condition", "ill", subject={"reference": "Patient/a"},
          encounter={"reference": "Encounter/visit"}, recordedDate="2024-02-02"),
    named("DocumentReference", "paper", status="current", subject={"reference": "Patient/a"},
          content=[{"attachment": {"url": "Binary/scan"}}]),
    # About another patient, though a's record names it.
    measured("b2", "b"),
    measured("a4", "a", derivedFrom=[{"reference": "Observation/b2"}], effectiveDateTime="2025"),
)  # fmt: skip

OF_A = {
    "Patient/a", "Observation/a1", "Observation/a2", "Observation/a3", "Observation/a4",
    "Encounter/visit", "Condition/ill", "DocumentReference/paper",
}  # fmt: skip
NAMED_BY_A = {"Practitioner/house", "Organization/lab", "Binary/scan"}


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(world, *WARD)
    return world


async def test_the_compartment_and_what_it_names_each_once(ward: World) -> None:
    response = await ward.get("/Patient/a/$everything")
    bundle = response.json()
    assert (response.status_code, bundle["type"]) == (200, "searchset")
    assert "content-length" not in response.headers, "it is sent while it is read"
    assert len(names_in(bundle)) == len(set(names_in(bundle)))
    assert set(names_in(bundle, "match")) == OF_A
    assert set(names_in(bundle, "include")) == NAMED_BY_A


async def test_pages_hold_the_same_and_the_last_has_no_next(ward: World) -> None:
    seen: list[str] = []
    url: str | None = "/Patient/a/$everything?_count=3"
    while url is not None:
        bundle = (await ward.get(url)).json()
        seen += names_in(bundle)
        url = next_of(bundle)
        assert len(bundle["entry"]) == 3 or url is None
    assert sorted(seen) == sorted(OF_A | NAMED_BY_A)


async def test_a_cursor_serves_its_own_record_and_caller_alone(ward: World) -> None:
    first = (await ward.get("/Patient/a/$everything?_count=3")).json()
    following = next_of(first) or ""
    stolen = await ward.get(following.replace("Patient/a", "Patient/b"))
    assert stolen.status_code == 400
    ward.caller.principal = caller("user/*.rs")
    assert (await ward.get(following)).status_code == 400


async def test_every_patient_that_the_caller_may_see(ward: World) -> None:
    bundle = (await ward.get("/Patient/$everything")).json()
    found = names_in(bundle)
    assert len(found) == len(set(found))
    everything = {f"{each['resourceType']}/{each['id']}" for each in WARD}
    assert set(found) == everything - {"Practitioner/unnamed"}


async def test_start_and_end_are_care_dates(ward: World) -> None:
    bundle = (await ward.get("/Patient/a/$everything?start=2024-02-02&end=2024-02-28")).json()
    found = set(names_in(bundle))
    assert {"Encounter/visit", "Condition/ill"} <= found, "overlapping, and inside"
    assert not found & {"Observation/a1", "Observation/a2", "Observation/a4"}
    assert {"Observation/a3", "Patient/a", "DocumentReference/paper"} <= found, "undated ones stay"
    assert "Organization/lab" not in found, "named only by what lies outside the dates"


async def test_types_are_those_named(ward: World) -> None:
    url = "/Patient/a/$everything?_type=Condition,Practitioner&_type=Encounter"
    found = names_in((await ward.get(url)).json())
    assert sorted(found) == ["Condition/ill", "Encounter/visit", "Practitioner/house"]


async def test_since_is_record_time(ward: World) -> None:
    since = ward.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    await store_all(ward, measured("a9", "a"), named("Organization", "lab", name="Laboratory"))
    bundle = (await ward.get(f"/Patient/a/$everything?_since={since}")).json()
    assert names_in(bundle) == ["Observation/a9", "Organization/lab"]


async def test_an_encounter_with_its_patient(ward: World) -> None:
    bundle = (await ward.get("/Encounter/visit/$everything")).json()
    assert set(names_in(bundle, "match")) == {"Encounter/visit", "Condition/ill"}
    assert names_in(bundle, "include") == ["Patient/a"]


async def test_what_the_caller_may_not_see_is_not_there(ward: World) -> None:
    ward.caller.principal = caller("patient/Patient.rs patient/Observation.rs", patient="a")
    bundle = (await ward.get("/Patient/a/$everything")).json()
    assert set(names_in(bundle)) == {
        "Patient/a", "Observation/a1", "Observation/a2", "Observation/a3", "Observation/a4"
    }  # fmt: skip
    assert (await ward.get("/Patient/b/$everything")).status_code == 404
    everybody = (await ward.get("/Patient/$everything?_count=100")).json()
    assert set(names_in(everybody)) == set(names_in(bundle))


async def test_a_type_that_the_caller_may_not_search_is_403(ward: World) -> None:
    ward.caller.principal = caller("patient/Patient.rs", patient="a")
    response = await ward.get("/Patient/a/$everything?_type=Observation")
    assert response.status_code == 403


async def test_parameters_may_come_in_a_body(ward: World) -> None:
    body = parameters(_type_code="Condition", _count_integer=5)
    response = await ward.post("/Patient/a/$everything", body)
    assert response.status_code == 200, response.text
    assert names_in(response.json()) == ["Condition/ill"]
    assert response.json()["total"] == 1


async def test_resources_are_narrowed_as_asked(ward: World) -> None:
    bundle = (await ward.get("/Patient/a/$everything?_type=Condition&_elements=code")).json()
    assert "recordedDate" not in bundle["entry"][0]["resource"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("strat=2024-01-01", "strat"),
        ("start=yesterday", "start"),
        ("start=2024-02-30", "start"),
        ("_count=0", "_count"),
        ("_count=2&_count=3", "_count"),
        ("_type=Patients", "Patient"),
        ("_since=2024-01-01", "_since"),
        ("_cursor=abc", "_cursor"),
    ],
)
async def test_what_is_wrong_is_named(ward: World, query: str, said: str) -> None:
    response = await ward.get(f"/Patient/a/$everything?{query}")
    assert response.status_code == 400
    assert said in text_of(response)


async def test_an_unknown_patient_is_404_a_deleted_one_410(ward: World) -> None:
    assert (await ward.get("/Patient/nobody/$everything")).status_code == 404
    await ward.put("/Patient/gone", named("Patient", "gone"))
    await ward.delete("/Patient/gone")
    assert (await ward.get("/Patient/gone/$everything")).status_code == 410


async def test_it_is_audited_with_the_patient(ward: World) -> None:
    await ward.get("/Patient/a/$everything?_count=3")
    record = (await ward.journal())[-1]
    assert (record["interaction"], record["patient"]) == ("operation", "a")
    assert record["query"] == "Patient/a/$everything?_count=3"


async def test_a_batch_entry_gets_a_bundle_too(ward: World) -> None:
    entry = {"request": {"method": "GET", "url": "Encounter/visit/$everything"}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answered = (await ward.post("", batch)).json()["entry"][0]
    assert answered["response"]["status"] == "200 OK"
    assert len(names_in(answered["resource"])) == 3


async def test_more_references_than_are_kept_at_once(
    ward: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reading of the members keeps a few of the references; nothing is lost or doubled."""
    staff = [named("Practitioner", f"p{number:02}") for number in range(12)]
    seen = [measured(f"s{number}", "b", performer=[{"reference": f"Practitioner/p{number:02}"}])
            for number in range(12)]  # fmt: skip
    await store_all(ward, *staff, *seen)
    monkeypatch.setattr("fhir_server.operations.record.MOST_REFERENCES", 3)
    monkeypatch.setattr("fhir_server.operations.record.BATCH", 2)
    # R4's compartment of b has the Patient a too, whose link names b.
    everybody = {"Practitioner/house", *(f"Practitioner/p{number:02}" for number in range(12))}
    included = names_in((await ward.get("/Patient/b/$everything")).json(), "include")
    assert (len(included), set(included)) == (13, everybody)
    paged: list[str] = []
    url: str | None = "/Patient/b/$everything?_count=5"
    while url is not None:
        bundle = (await ward.get(url)).json()
        paged += names_in(bundle, "include")
        url = next_of(bundle)
    assert paged == included


async def test_references_written_with_escapes_are_found(ward: World) -> None:
    text = json.dumps(measured("esc", "b", performer=[{"reference": "Practitioner/unnamed"}]))
    body = text.replace("r/u", "r\\/u").replace('e": ', 'e" : ').encode()
    response = await ward.put("/Observation/esc", body)
    assert response.status_code == 201, response.text
    bundle = (await ward.get("/Patient/b/$everything")).json()
    assert "Practitioner/unnamed" in names_in(bundle, "include")
