"""R4 Bundle, "Resolving references in Bundles", and conditional references in transactions."""

import base64

import pytest

from tests.bundles import batch, entry, transaction
from tests.fhir_world import PATIENT, Json, World, issues, observation

KNOWN = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "17"}]}
URN = "urn:uuid:5c1d0b5e-7f3a-4d0e-9f5c-000000000001"


async def _stored(world: World, *entries: Json) -> list[Json]:
    """What the entries of a transaction became."""
    response = await world.post("", transaction(*entries), Prefer="return=representation")
    assert response.status_code == 200, response.text
    return [each["resource"] for each in response.json()["entry"]]


@pytest.mark.parametrize(
    "full_url",
    [URN, "urn:oid:1.2.3.4", "http://elsewhere.example/fhir/Patient/77", "urn:anything"],
)
async def test_a_full_url_becomes_the_identity_that_the_entry_gets(
    world: World, full_url: str
) -> None:
    patient, seen = await _stored(
        world,
        entry("POST", "Patient", PATIENT) | {"fullUrl": full_url},
        entry("POST", "Observation", observation(subject={"reference": full_url})),
    )
    assert seen["subject"]["reference"] == f"Patient/{patient['id']}"
    read = (await world.get(f"/Observation/{seen['id']}")).json()
    assert read["subject"] == seen["subject"]


async def test_entries_may_refer_to_later_ones_and_to_each_other(world: World) -> None:
    first, second = await _stored(
        world,
        entry("POST", "Observation", observation(hasMember=[{"reference": "urn:uuid:2"}]))
        | {"fullUrl": "urn:uuid:1"},
        entry("POST", "Observation", observation(derivedFrom=[{"reference": "urn:uuid:1"}]))
        | {"fullUrl": "urn:uuid:2"},
    )
    assert first["hasMember"] == [{"reference": f"Observation/{second['id']}"}]
    assert second["derivedFrom"] == [{"reference": f"Observation/{first['id']}"}]


async def test_a_relative_reference_is_resolved_against_its_own_full_url(world: World) -> None:
    base = "http://elsewhere.example/fhir/"
    patient, seen, stranger = await _stored(
        world,
        entry("POST", "Patient", PATIENT) | {"fullUrl": f"{base}Patient/77"},
        entry("POST", "Observation", observation(subject={"reference": "Patient/77"}))
        | {"fullUrl": f"{base}Observation/1"},
        entry("POST", "Observation", observation(subject={"reference": "Patient/77"})),
    )
    assert seen["subject"]["reference"] == f"Patient/{patient['id']}"
    assert stranger["subject"]["reference"] == "Patient/77"


async def test_an_updated_entry_is_referred_to_by_its_own_id(world: World) -> None:
    _, seen = await _stored(
        world,
        entry("PUT", "Patient/p1", PATIENT | {"id": "p1"}) | {"fullUrl": URN},
        entry("POST", "Observation", observation(subject={"reference": URN})),
    )
    assert seen["subject"]["reference"] == "Patient/p1"


async def test_a_url_element_that_names_an_entry_is_replaced(world: World) -> None:
    data = base64.b64encode(b"image").decode()
    binary, media = await _stored(
        world,
        entry(
            "POST",
            "Binary",
            {"resourceType": "Binary", "contentType": "image/png", "data": data},
        )
        | {"fullUrl": URN},
        entry(
            "POST",
            "Media",
            {"resourceType": "Media", "status": "completed", "content": {"url": URN}},
        ),
    )
    assert media["content"]["url"] == f"Binary/{binary['id']}"


async def test_a_string_that_only_looks_like_a_link_is_left_alone(world: World) -> None:
    patient = PATIENT | {"identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}]}
    stored, seen = await _stored(
        world,
        entry("POST", "Patient", patient) | {"fullUrl": URN},
        entry("POST", "Observation", observation(valueString=URN, note=[{"text": URN}])),
    )
    assert stored["identifier"][0]["value"] == URN
    assert seen["valueString"] == URN
    assert seen["note"] == [{"text": URN}]


async def test_links_in_narratives_are_replaced(world: World) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN}#x">{URN}</a></div>'
    patient, seen = await _stored(
        world,
        entry("POST", "Patient", PATIENT) | {"fullUrl": URN},
        entry("POST", "Observation", observation(text={"status": "generated", "div": div})),
    )
    link = f'<a href="Patient/{patient["id"]}#x">{URN}</a>'
    assert link in seen["text"]["div"]


async def test_links_inside_contained_resources_and_choices_are_replaced(world: World) -> None:
    inner = observation(id="in", subject={"reference": URN})
    patient, seen = await _stored(
        world,
        entry("POST", "Patient", PATIENT) | {"fullUrl": URN},
        entry(
            "POST",
            "Observation",
            observation(
                contained=[inner],
                hasMember=[{"reference": "#in"}],
                extension=[{"url": "http://x.example/e", "valueUri": URN}],
            ),
        ),
    )
    identity = f"Patient/{patient['id']}"
    assert seen["contained"][0]["subject"]["reference"] == identity
    assert seen["hasMember"] == [{"reference": "#in"}]
    assert seen["extension"][0]["valueUri"] == identity


async def test_a_link_to_a_conditional_create_points_to_its_match(world: World) -> None:
    id = await world.create(KNOWN)
    _, seen = await _stored(
        world,
        entry("POST", "Patient", KNOWN, ifNoneExist="identifier=urn:mrn|17") | {"fullUrl": URN},
        entry("POST", "Observation", observation(subject={"reference": URN})),
    )
    assert seen["subject"]["reference"] == f"Patient/{id}"


async def test_a_urn_that_no_entry_has_is_refused_with_its_place(world: World) -> None:
    asked = transaction(entry("POST", "Observation", observation(subject={"reference": URN})))
    response = await world.post("", asked)
    assert response.status_code == 400
    assert issues(response)[0]["expression"] == ["Bundle.entry[0].resource.subject.reference"]


async def test_a_conditional_reference_takes_the_one_match(world: World) -> None:
    id = await world.create(KNOWN)
    reference = {"reference": "Patient?identifier=urn:mrn|17"}
    (seen,) = await _stored(world, entry("POST", "Observation", observation(subject=reference)))
    assert seen["subject"]["reference"] == f"Patient/{id}"


async def test_a_conditional_reference_sees_what_the_transaction_writes(world: World) -> None:
    reference = {"reference": "Patient?identifier=urn:mrn|17"}
    seen, patient = await _stored(
        world,
        entry("POST", "Observation", observation(subject=reference)),
        entry("POST", "Patient", KNOWN),
    )
    assert seen["subject"]["reference"] == f"Patient/{patient['id']}"


async def test_a_conditional_reference_does_not_see_what_the_transaction_takes_away(
    world: World,
) -> None:
    await world.put("/Patient/p1", KNOWN | {"id": "p1"})
    await world.put("/Patient/p2", KNOWN | {"id": "p2"})
    reference = {"reference": "Patient?identifier=urn:mrn|17"}
    seen, *_ = (
        await world.post(
            "",
            transaction(
                entry("POST", "Observation", observation(subject=reference)),
                entry("DELETE", "Patient/p1"),
            ),
            Prefer="return=representation",
        )
    ).json()["entry"]
    assert seen["resource"]["subject"]["reference"] == "Patient/p2"


@pytest.mark.parametrize(("patients", "word"), [(0, "nothing"), (2, "several")])
async def test_a_conditional_reference_must_match_exactly_one(
    world: World, patients: int, word: str
) -> None:
    for _ in range(patients):
        await world.create(KNOWN)
    reference = {"reference": "Patient?identifier=urn:mrn|17"}
    response = await world.post(
        "", transaction(entry("POST", "Observation", observation(subject=reference)))
    )
    assert response.status_code == 412
    assert word in issues(response)[0]["diagnostics"]
    assert issues(response)[0]["expression"] == ["Bundle.entry[0].resource.subject.reference"]
    assert await world.count("Observation") == 0


async def test_chained_criteria_are_refused_by_name(world: World) -> None:
    reference = {"reference": "Encounter?subject:Patient.identifier=17"}
    response = await world.post(
        "", transaction(entry("POST", "Observation", observation(encounter=reference)))
    )
    assert response.status_code == 400
    assert "chain" in issues(response)[0]["diagnostics"]


async def test_the_entries_of_a_batch_are_not_linked(world: World) -> None:
    response = await world.post(
        "",
        batch(
            entry("POST", "Patient", KNOWN),
            entry(
                "POST",
                "Observation",
                observation(subject={"reference": "Patient?identifier=urn:mrn|17"}),
            ),
        ),
    )
    statuses = [each["response"]["status"] for each in response.json()["entry"]]
    assert statuses == ["201 Created", "400 Bad Request"]
