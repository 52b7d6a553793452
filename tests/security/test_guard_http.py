"""The leak matrix over HTTP: every route to a patient whom the caller may not see."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.search.extract import Extractor
from fhir_server.security.principal import Principal
from tests.fhir_world import World, fhir_world

Json = dict[str, Any]


def principal(scopes: str, **more: Any) -> Principal:
    facts: Json = {
        "subject": "dr.amina",
        "client_id": "app",
        "name": "Dr Amina",
        "roles": frozenset({"doctor"}),
        "fhir_user": "Practitioner/amina",
        "patient": "x",
        "encounter": None,
        "session": "s",
    }
    return Principal(scopes=scopes, **(facts | more))


APP = principal("patient/*.cruds")
AUDITOR = principal("user/AuditEvent.rs", roles=frozenset({"auditor"}), patient=None)


def observation(id_: str, patient: str, encounter: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"text": "temperature"},
        "subject": {"reference": f"Patient/{patient}"},
        "encounter": {"reference": f"Encounter/{encounter}"},
    }


def encounter(id_: str, patient: str) -> Json:
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": f"Patient/{patient}"},
    }


WARD = [
    {"resourceType": "Patient", "id": "x", "name": [{"family": "Mensah"}]},
    {"resourceType": "Patient", "id": "y", "name": [{"family": "Okafor"}]},
    {"resourceType": "Practitioner", "id": "amina"},
    encounter("ex", "x"),
    encounter("ey", "y"),
    observation("ox", "x", "ex"),
    observation("oxy", "x", "ey"),
    observation("oy", "y", "ex"),
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        for resource in WARD:
            url = f"/{resource['resourceType']}/{resource['id']}"
            assert (await opened.put(url, resource)).status_code == 201
        opened.caller.principal = APP
        yield opened


def entries(response: httpx.Response) -> set[str]:
    assert response.status_code == 200, response.text
    found = [each["resource"] for each in response.json().get("entry", ())]
    return {f"{each['resourceType']}/{each['id']}" for each in found}


@pytest.mark.parametrize(
    "url",
    [
        "/Patient/{}",
        "/Patient/{}/_history",
        "/Patient/{}/_history/1",
    ],
)
async def test_the_hidden_reads_like_the_unknown(world: World, url: str) -> None:
    hidden, unknown = await world.get(url.format("y")), await world.get(url.format("q"))
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("/y", "/q") == unknown.text
    kept = {"etag", "last-modified", "location"}
    assert not kept & set(hidden.headers)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("/Patient?name=okafor", set()),
        ("/Observation?_id=oy", set()),
        ("/Observation?subject:Patient.name=okafor", set()),
        ("/Encounter?_has:Observation:encounter:_id=oy", set()),
        ("/Observation?_id=oxy&_include=Observation:encounter", {"Observation/oxy"}),
        (
            "/Observation?_id=ox&_include=Observation:encounter",
            {"Observation/ox", "Encounter/ex"},
        ),
        (
            "/Encounter?_id=ex&_revinclude=Observation:encounter",
            {"Encounter/ex", "Observation/ox"},
        ),
        ("/Practitioner?_id=amina", {"Practitioner/amina"}),
        (
            "/Observation?_id=oxy&_include=Observation:encounter&_include:iterate=Encounter:subject",
            {"Observation/oxy"},
        ),
    ],
)
async def test_a_search_shows_nothing_of_the_hidden(
    world: World, url: str, names: set[str]
) -> None:
    assert entries(await world.get(url)) == names


async def test_totals_and_counts_are_those_of_what_is_visible(world: World) -> None:
    answer = (await world.get("/Observation?_total=accurate&_count=1")).json()
    assert (answer["total"], len(answer["entry"])) == (2, 1)
    assert (await world.get("/Patient?_summary=count")).json()["total"] == 1


async def test_a_cursor_opens_for_its_own_caller_alone(world: World) -> None:
    first = (await world.get("/Observation?_count=1")).json()
    (url,) = [each["url"] for each in first["link"] if each["relation"] == "next"]
    assert len(entries(await world.get(url))) == 1
    for other in (
        principal("patient/*.cruds", subject="dr.kofi"),
        principal("patient/*.cruds", patient="y"),
        principal("patient/*.rs"),
    ):
        world.caller.principal = other
        assert (await world.get(url)).status_code == 400


async def test_each_entry_of_a_batch_is_judged_alone(world: World) -> None:
    urls = ["Patient/x", "Patient/y", "Observation?subject=Patient/y", "Observation/oy/_history/1"]
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    answer = (await world.post("/", batch)).json()
    statuses = [each["response"]["status"][:3] for each in answer["entry"]]
    assert statuses == ["200", "404", "200", "404"]
    assert "Okafor" not in str(answer)
    assert not answer["entry"][2]["resource"].get("entry")


async def test_reads_in_a_transaction_are_judged_too(world: World) -> None:
    transaction = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "GET", "url": "Patient/y"}}],
    }
    assert (await world.post("/", transaction)).status_code == 404


async def test_what_may_be_written_but_not_read_is_not_read_in_a_transaction(
    world: World,
) -> None:
    world.caller.principal = principal(
        "patient/Observation.r?status=preliminary patient/Observation.u"
    )
    transaction = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "GET", "url": "Observation/ox"}}],
    }
    assert (await world.post("/", transaction)).status_code == 404
    changed = observation("ox", "x", "ex") | {"status": "amended"}
    assert (await world.put("/Observation/ox", changed)).status_code == 200


async def test_a_conditional_create_does_not_see_the_hidden(world: World) -> None:
    made = observation("", "x", "ex")
    del made["id"]
    answer = await world.post("/Observation", made, If_None_Exist="_id=oy")
    assert answer.status_code == 201


async def test_writes_to_the_hidden_look_like_writes_to_the_unknown(world: World) -> None:
    hidden = await world.put("/Observation/oy", observation("oy", "x", "ex"))
    unknown = await world.put("/Observation/oq", observation("oq", "x", "ex"))
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("oy", "oq") == unknown.text
    gone, never = await world.delete("/Observation/oy"), await world.delete("/Observation/oq")
    assert gone.status_code == never.status_code
    world.caller.principal = None
    assert (await world.get("/Observation/oy")).json()["subject"]["reference"] == "Patient/y"


async def test_a_resource_cannot_be_moved_to_another_patient(world: World) -> None:
    assert (await world.put("/Observation/ox", observation("ox", "y", "ex"))).status_code == 403
    stranger = observation("", "y", "ex")
    del stranger["id"]
    assert (await world.post("/Observation", stranger)).status_code == 403


async def test_a_type_without_scope_is_forbidden(world: World) -> None:
    world.caller.principal = principal("patient/Patient.rs")
    assert (await world.get("/Observation/ox")).status_code == 403
    assert (await world.get("/Observation")).status_code == 403
    # An include to a type without scope adds nothing.
    world.caller.principal = principal("patient/Observation.rs")
    answer = await world.get("/Observation?_id=ox&_include=Observation:encounter")
    assert entries(answer) == {"Observation/ox"}


async def test_audit_events_are_for_auditors_and_nobody_changes_them(world: World) -> None:
    event = {
        "resourceType": "AuditEvent",
        "id": "a",
        "type": {"code": "rest"},
        "recorded": "2026-11-24T02:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "test"}},
    }
    world.caller.principal = None
    assert (await world.put("/AuditEvent/a", event)).status_code == 201
    assert (await world.put("/AuditEvent/a", event)).status_code == 403
    assert (await world.delete("/AuditEvent/a")).status_code == 405
    world.caller.principal = principal("user/*.cruds patient/*.cruds")
    for url in ("/AuditEvent/a", "/AuditEvent", "/AuditEvent/a/_history"):
        assert (await world.get(url)).status_code == 403
    assert entries(await world.get("/Patient?_id=x&_revinclude=AuditEvent:patient")) == {
        "Patient/x"
    }
    world.caller.principal = AUDITOR
    assert entries(await world.get("/AuditEvent")) == {"AuditEvent/a"}
    assert (await world.delete("/AuditEvent/a")).status_code == 405
    assert (await world.put("/AuditEvent/a", event)).status_code == 403
    assert (await world.get("/Patient/x")).status_code == 403


async def test_without_the_guards_terms_image_bytes_are_hidden_rather_than_shown(
    tmp_path: Path,
) -> None:
    from tests.fhir_world import BASE, registry

    bare = Extractor(registry(), BASE)
    async with fhir_world(tmp_path, extract=bare) as world:
        image = {"resourceType": "Binary", "id": "b", "contentType": "image/png"}
        image |= {"securityContext": {"reference": "Patient/x"}, "data": "AAAA"}
        assert (await world.put("/Binary/b", image)).status_code == 201
        world.caller.principal = APP
        assert (await world.get("/Binary/b")).status_code == 404


async def test_no_route_changes_an_audit_event(world: World) -> None:
    event = {
        "resourceType": "AuditEvent",
        "type": {"code": "rest"},
        "recorded": "2026-11-24T02:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "test"}},
    }
    entry = {"request": {"method": "POST", "url": "AuditEvent"}, "resource": event}
    world.caller.principal = None
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    made = (await world.post("/", bundle)).json()
    id_ = made["entry"][0]["response"]["location"].split("AuditEvent/")[1].split("/")[0]
    changed = event | {"id": id_}
    meta = {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}
    parameters = {"resourceType": "Parameters", "parameter": [meta]}
    undo = {"name": "transaction", "valueId": made["id"]}
    for principal_ in (None, AUDITOR, principal("system/AuditEvent.cruds", roles=frozenset())):
        world.caller.principal = principal_
        refused = [
            await world.put(f"/AuditEvent/{id_}", changed),
            await world.put(f"/AuditEvent?_id={id_}", changed),
            await world.patch(f"/AuditEvent/{id_}", [{"op": "remove", "path": "/agent"}]),
            await world.delete(f"/AuditEvent/{id_}"),
            await world.delete(f"/AuditEvent?_id={id_}"),
            await world.post(f"/AuditEvent/{id_}/$meta-add", parameters),
            await world.post("/$undo", {"resourceType": "Parameters", "parameter": [undo]}),
        ]
        for method in ("PUT", "DELETE"):
            asked: Json = {"request": {"method": method, "url": f"AuditEvent/{id_}"}}
            if method == "PUT":
                asked["resource"] = changed
            refused.append(await world.post("/", bundle | {"entry": [asked]}))
        assert {each.status_code // 100 for each in refused} == {4}, refused
    world.caller.principal = None
    assert (await world.get(f"/AuditEvent/{id_}")).headers["etag"] == 'W/"1"'
