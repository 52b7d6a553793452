"""R4 Composition $document."""

from typing import Any

import pytest

from tests.fhir_world import BASE, Json, World, text_of
from tests.operation_world import caller, measured, named, names_in, place, store_all, world

__all__ = ["place", "world"]


def composition(**changes: Any) -> Json:
    return named(
        "Composition", "c", status="final", type={"text": "summary"}, date="2024-01-01",
        title="Summary", subject={"reference": "Patient/a"},
        author=[{"reference": "Practitioner/house"}], **changes,
    )  # fmt: skip


SECTION = [{"title": "Results", "entry": [{"reference": "DiagnosticReport/r"}]}]


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(
        world,
        named("Patient", "a", managingOrganization={"reference": "Organization/hospital"},
              link=[{"other": {"reference": "Patient/b"}, "type": "seealso"}]),
        named("Patient", "b"),
        named("Practitioner", "house"),
        named("Practitioner", "unnamed"),
        named("Organization", "hospital", name="Hospital"),
        named("DiagnosticReport", "r", status="final", code={"text": "x"},
              subject={"reference": "Patient/a"}, result=[{"reference": "Observation/o"}]),
        measured("o", "a", performer=[{"reference": f"{BASE}/Practitioner/house"}]),
        composition(section=SECTION),
    )  # fmt: skip
    return world


async def test_the_composition_first_then_all_that_it_leads_to(ward: World) -> None:
    response = await ward.get("/Composition/c/$document")
    bundle = response.json()
    assert (response.status_code, bundle["type"]) == (200, "document")
    assert names_in(bundle)[0] == "Composition/c"
    assert sorted(names_in(bundle)[1:]) == [
        "DiagnosticReport/r", "Observation/o", "Organization/hospital", "Patient/a",
        "Practitioner/house",
    ]  # fmt: skip
    assert bundle["identifier"]["value"].startswith("urn:uuid:")
    assert bundle["entry"][0]["fullUrl"] == f"{BASE}/Composition/c"
    checked = await ward.post("/Bundle/$validate", bundle)
    assert [each["severity"] for each in checked.json()["issue"]] == ["information"]
    assert await ward.count("Bundle") == 0


async def test_the_same_by_id_on_the_type(ward: World) -> None:
    for id in ("c", f"{BASE}/Composition/c"):
        bundle = (await ward.get(f"/Composition/$document?id={id}")).json()
        assert len(bundle["entry"]) == 6


async def test_it_is_stored_when_asked(ward: World) -> None:
    response = await ward.get("/Composition/c/$document?persist=true")
    stored = await ward.get(response.headers["location"].removeprefix(BASE))
    assert stored.json() == response.json()
    assert response.json()["type"] == "document"
    assert [(each["interaction"], each["patient"]) for each in (await ward.journal())[-3:-1]] == [
        ("create", "a"), ("operation", "a")
    ]  # fmt: skip


async def test_a_reference_that_leads_nowhere_is_an_error_that_names_it(ward: World) -> None:
    missing = [{"reference": "Observation/gone"}, {"reference": "http://other.example/Patient/1"}]
    await ward.put("/Composition/c", composition(section=[{"title": "x", "entry": missing}]))
    response = await ward.get("/Composition/c/$document")
    assert response.status_code == 422
    assert "Observation/gone" in text_of(response)
    assert "http://other.example/Patient/1" in text_of(response)


async def test_the_version_that_is_named_is_taken(ward: World) -> None:
    await ward.put("/Observation/o", measured("o", "a", valueInteger=9))
    entry = [{"reference": "Observation/o/_history/1"}]
    await ward.put("/Composition/c", composition(section=[{"title": "x", "entry": entry}]))
    bundle = (await ward.get("/Composition/c/$document")).json()
    found = [each["resource"] for each in bundle["entry"] if "/o" in each["fullUrl"]]
    assert [each["meta"]["versionId"] for each in found] == ["1"]


async def test_what_the_caller_may_not_read_is_not_there(ward: World) -> None:
    ward.caller.principal = caller("patient/Composition.rs patient/Patient.rs", patient="a")
    response = await ward.get("/Composition/c/$document")
    assert response.status_code == 422
    assert "Practitioner/house" in text_of(response)
    ward.caller.principal = caller("patient/*.rs", patient="b")
    assert (await ward.get("/Composition/c/$document")).status_code == 404


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("/Composition/c/$document?graph=http://x.example/g", 400, "graph"),
        ("/Composition/c/$document?id=c", 400, "id"),
        ("/Composition/$document", 400, "id"),
        ("/Composition/$document?id=http://other.example/Composition/c", 400, "other.example"),
        ("/Composition/c/$document?persist=yes", 400, "persist"),
        ("/Composition/none/$document", 404, "none"),
    ],
)
async def test_what_is_wrong_is_named(ward: World, url: str, status: int, said: str) -> None:
    response = await ward.get(url)
    assert response.status_code == status
    assert said in text_of(response)
