"""The FHIR base for callers who may not do everything: what is hidden does not exist, what is
not permitted is refused and recorded."""

from fhir_server.security.principal import Principal
from tests.bundles import batch, entry, transaction
from tests.fhir_world import PATIENT, World, issues, observation


def app(scopes: str, patient: str | None = "p1") -> Principal:
    """A doctor's app that was launched for one patient."""
    return Principal(
        subject="dr.amina",
        client_id="medsage-app",
        name="Dr Amina",
        roles=frozenset({"doctor"}),
        fhir_user="Practitioner/dr-amina",
        scopes=scopes,
        patient=patient,
        encounter=None,
        session=None,
    )


async def _ward(world: World) -> None:
    """Two patients with an Observation each."""
    for number in ("1", "2"):
        await world.put(f"/Patient/p{number}", PATIENT | {"id": f"p{number}"})
        seen = observation(id=f"o{number}", subject={"reference": f"Patient/p{number}"})
        await world.put(f"/Observation/o{number}", seen)


async def test_what_lies_outside_the_compartment_does_not_exist(world: World) -> None:
    await _ward(world)
    world.caller.principal = app("patient/*.cruds")
    for url, expected in {
        "/Patient/p1": 200,
        "/Patient/p2": 404,
        "/Observation/o1": 200,
        "/Observation/o2": 404,
        "/Observation/o1/_history": 200,
        "/Observation/o2/_history": 404,
        "/Observation/o2/_history/1": 404,
    }.items():
        assert (await world.get(url)).status_code == expected, url
    found = (await world.get("/Observation")).json()
    assert [each["resource"]["id"] for each in found["entry"]] == ["o1"]
    assert found["total"] == 1


async def test_a_filter_does_not_look_into_what_is_hidden(world: World) -> None:
    await _ward(world)
    seen = observation(
        id="o1", subject={"reference": "Patient/p1"}, focus=[{"reference": "Patient/p2"}]
    )
    await world.put("/Observation/o1", seen)
    path = "focus[name sw chalm].name pr true"
    for filter_, with_right, without in (
        (path, ["o1"], []),
        (f"not ({path})", ["o2"], ["o1"]),
        ("subject[name sw chalm].name pr true", ["o1", "o2"], ["o1"]),
    ):
        for principal, expected in ((None, with_right), (app("patient/*.rs"), without)):
            world.caller.principal = principal
            found = (await world.get(f"/Observation?_filter={filter_}")).json()
            assert [each["resource"]["id"] for each in found.get("entry", ())] == expected, filter_


async def test_a_missing_scope_is_403_and_names_it(world: World) -> None:
    await _ward(world)
    world.caller.principal = app("patient/Observation.rs")
    for response in (
        await world.post("/Observation", observation(subject={"reference": "Patient/p1"})),
        await world.delete("/Observation/o1"),
        await world.get("/Patient/p1"),
    ):
        assert response.status_code == 403
        assert issues(response)[0]["code"] == "forbidden"
    records = [each for each in await world.journal() if each.get("subject") == "dr.amina"]
    assert [(each["outcome"], each["status"]) for each in records] == [("refused", 403)] * 3
    assert (await world.get("/Observation/o1")).status_code == 200


async def test_what_is_hidden_cannot_be_changed_or_deleted(world: World) -> None:
    await _ward(world)
    world.caller.principal = app("patient/*.cruds")
    body = observation(id="o2", subject={"reference": "Patient/p2"}, status="amended")
    assert (await world.put("/Observation/o2", body)).status_code in (403, 404)
    await world.delete("/Observation/o2")
    foreign = observation(subject={"reference": "Patient/p2"})
    assert (await world.post("/Observation", foreign)).status_code == 403
    world.caller.principal = None
    assert (await world.get("/Observation/o2")).headers["etag"] == 'W/"1"'
    assert await world.count("Observation") == 2


async def test_a_transaction_is_refused_whole_when_one_entry_is_not_permitted(
    world: World,
) -> None:
    await _ward(world)
    world.caller.principal = app("patient/Observation.cruds")
    mine = observation(subject={"reference": "Patient/p1"})
    foreign = observation(subject={"reference": "Patient/p2"})
    outside = transaction(entry("POST", "Observation", mine), entry("POST", "Observation", foreign))
    no_scope = transaction(entry("POST", "Observation", mine), entry("DELETE", "Patient/p1"))
    assert (await world.post("", outside)).status_code == 403
    refused = await world.post("", no_scope)
    assert refused.status_code == 403
    assert issues(refused)[0]["expression"] == ["Bundle.entry[1]"]
    assert await world.count("Observation") == 2
    assert (await world.post("", transaction(entry("POST", "Observation", mine)))).is_success


async def test_batch_and_transaction_reads_see_what_a_read_sees(world: World) -> None:
    await _ward(world)
    world.caller.principal = app("patient/*.cruds")
    answers = await world.post(
        "", batch(entry("GET", "Patient/p1"), entry("GET", "Patient/p2"), entry("GET", "Patient"))
    )
    first, second, third = answers.json()["entry"]
    assert first["response"]["status"] == "200 OK"
    assert second["response"]["status"] == "404 Not Found"
    assert third["resource"]["total"] == 1
    assert (await world.post("", transaction(entry("GET", "Observation/o2")))).status_code == 404
    seen = (await world.post("", transaction(entry("GET", "Observation")))).json()
    assert seen["entry"][0]["resource"]["total"] == 1


async def test_a_condition_needs_the_right_to_search(world: World) -> None:
    world.caller.principal = app("user/Patient.c", patient=None)
    response = await world.post("/Patient", PATIENT, If_None_Exist="family=Chalmers")
    assert response.status_code == 403


async def test_a_condition_sees_only_what_the_caller_sees(world: World) -> None:
    await world.put("/Patient/p2", PATIENT | {"id": "p2"})
    world.caller.principal = app("patient/Patient.cruds", patient="p1")
    reference = {"reference": "Patient?family=Chalmers"}
    world.caller.principal = app("patient/*.cruds", patient="p1")
    asked = transaction(entry("POST", "Observation", observation(subject=reference)))
    assert (await world.post("", asked)).status_code == 412


async def test_records_say_who_did_what_to_whom(world: World) -> None:
    await _ward(world)
    world.caller.principal = app("patient/*.cruds")
    await world.get("/Observation/o1")
    await world.get("/Observation/o1/_history")
    await world.get("/Observation?patient=p1")
    records = [each for each in await world.journal() if each.get("subject") == "dr.amina"]
    assert [each["interaction"] for each in records] == ["read", "history-instance", "search-type"]
    assert {each["patient"] for each in records} == {"p1"}
    assert {each["address"] for each in records} == {"192.0.2.7"}
    assert records[2]["query"] == "Observation?patient=p1"
