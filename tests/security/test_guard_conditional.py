"""Patches, and what is updated or deleted by criteria, for callers who may not see everything:
what is hidden answers as if it did not exist."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.bundles import batch, entry, transaction
from tests.fhir_world import Json, World, text_of
from tests.security.test_guard_http import APP, WARD, observation, principal
from tests.stores import BOTH
from tests.worlds import world_on

FINAL = [{"op": "add", "path": "/status", "value": "amended"}]


@pytest.fixture(params=BOTH)
async def ward(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[World]:
    """Two patients, of whom the caller may see `x` alone; three deletions at once."""
    async with world_on(request, request.param, tmp_path, deletes_at_once=3) as opened:
        for resource in WARD:
            url = f"/{resource['resourceType']}/{resource['id']}"
            assert (await opened.put(url, resource)).status_code == 201
        opened.caller.principal = APP
        yield opened


async def unguarded(world: World, url: str) -> httpx.Response:
    """What a caller who sees everything gets."""
    caller, world.caller.principal = world.caller.principal, None
    response = await world.get(url)
    world.caller.principal = caller
    return response


def body(id: str | None, patient: str = "x", **changes: Any) -> Json:
    made = observation("", patient, "ex") | changes
    del made["id"]
    return made if id is None else made | {"id": id}


def same(hidden: httpx.Response, unknown: httpx.Response) -> bool:
    """Whether the hidden `oy` is answered like the unknown `oq`."""
    return (hidden.status_code, hidden.text.replace("oy", "oq")) == (
        unknown.status_code,
        unknown.text,
    )


@pytest.mark.parametrize("url", ["/Observation/{}", "/Observation?_id={}"])
async def test_a_patch_of_the_hidden_is_one_of_the_unknown(ward: World, url: str) -> None:
    hidden = await ward.patch(url.format("oy"), FINAL)
    unknown = await ward.patch(url.format("oq"), FINAL)
    assert hidden.status_code == 404
    assert same(hidden, unknown)
    assert (await unguarded(ward, "/Observation/oy")).headers["etag"] == 'W/"1"'
    visible = await ward.patch(url.format("ox"), FINAL)
    assert (visible.status_code, visible.headers["etag"]) == (200, 'W/"2"')


@pytest.mark.parametrize("condition", ['W/"1"', 'W/"2"', "*"])
async def test_conditions_tell_nothing_of_the_hidden(ward: World, condition: str) -> None:
    for method in (ward.patch, ward.put):
        sent: Any = FINAL if method == ward.patch else body(None)
        hidden = await method("/Observation?_id=oy", sent, If_Match=condition)
        unknown = await method("/Observation?_id=oq", sent, If_Match=condition)
        assert same(hidden, unknown)
    hidden = await ward.delete("/Observation?_id=oy", If_Match=condition)
    unknown = await ward.delete("/Observation?_id=oq", If_Match=condition)
    assert hidden.status_code == 412
    assert same(hidden, unknown)


async def test_an_update_by_criteria_does_not_find_the_hidden(ward: World) -> None:
    for criteria in ("_id=oy", "subject:Patient.name=okafor", "patient=y"):
        response = await ward.put(f"/Observation?{criteria}", body(None))
        assert response.status_code == 201
        assert response.json()["id"] not in ("ox", "oxy", "oy")
    assert (await unguarded(ward, "/Observation/oy")).headers["etag"] == 'W/"1"'


async def test_an_id_in_the_body_does_not_tell_whether_it_is_taken(ward: World) -> None:
    hidden = await ward.put("/Observation?_id=oy", body("oy"))
    unknown = await ward.put("/Observation?_id=oq", body("oq"))
    assert same(hidden, unknown)
    assert hidden.status_code in (403, 404)
    assert (await unguarded(ward, "/Observation/oy")).headers["etag"] == 'W/"1"'


async def test_a_deletion_by_criteria_leaves_the_hidden(ward: World) -> None:
    gone = await ward.delete("/Observation?_id=oy")
    assert gone.status_code == 204
    assert "etag" not in gone.headers
    several = await ward.delete("/Observation?status=final")
    assert several.status_code == 200
    assert "oy" not in text_of(several)
    left = (await unguarded(ward, "/Observation")).json()["entry"]
    assert [each["resource"]["id"] for each in left] == ["oy"]


@pytest.mark.parametrize("kind", [batch, transaction])
async def test_entries_do_not_find_the_hidden_either(ward: World, kind: Any) -> None:
    for id in ("oy", "oq"):
        asked = kind(
            entry("PUT", f"Observation?_id={id}", body(None)),
            entry("DELETE", f"Observation?_id={id}"),
        )
        answer = (await ward.post("", asked)).json()
        said = [each["response"]["status"][:3] for each in answer["entry"]]
        assert said == ["201", "204"], answer
    patches = kind(entry("PATCH", "Observation?_id=oy", _patch()))
    answer = await ward.post("", patches)
    assert "404" in answer.text or answer.status_code == 404
    assert (await unguarded(ward, "/Observation/oy")).headers["etag"] == 'W/"1"'


def _patch() -> Json:
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Observation.status"},
        {"name": "value", "valueCode": "amended"},
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


@pytest.mark.parametrize("how", ["/Observation/ox", "/Observation?_id=ox"])
async def test_a_patch_can_not_move_a_resource_out_of_sight(ward: World, how: str) -> None:
    moved = [{"op": "add", "path": "/subject/reference", "value": "Patient/y"}]
    assert (await ward.patch(how, moved)).status_code == 403
    assert (await ward.put("/Observation?_id=ox", body("ox", "y"))).status_code == 403
    stored = (await unguarded(ward, "/Observation/ox")).json()
    assert stored["subject"]["reference"] == "Patient/x"


@pytest.mark.parametrize(
    ("rights", "allowed"),
    [
        ("cruds", {"PUT", "PATCH", "DELETE"}),
        ("rus", {"PATCH"}),
        ("cus", {"PUT"}),
        ("crud", set()),
        ("crs", set()),
        ("ds", {"DELETE"}),
    ],
)
async def test_criteria_need_the_right_to_search_beside_that_to_write(
    ward: World, rights: str, allowed: set[str]
) -> None:
    ward.caller.principal = principal(f"patient/Observation.{rights}")
    answers = {
        "PUT": await ward.put("/Observation?code:text=none", body(None)),
        "PATCH": await ward.patch("/Observation?_id=ox", FINAL),
        "DELETE": await ward.delete("/Observation?_id=oxy"),
    }
    assert {name for name, answer in answers.items() if answer.is_success} == allowed
    refused = {answer.status_code for name, answer in answers.items() if name not in allowed}
    assert refused <= {403}


async def test_an_update_that_says_the_same_needs_the_right_to_write(ward: World) -> None:
    present = (await ward.get("/Observation/ox")).json()
    ward.caller.principal = principal("patient/Observation.rs")
    assert (await ward.put("/Observation/ox", present)).status_code == 403
    assert (await ward.patch("/Observation/ox", [])).status_code == 403


async def test_granular_scopes_narrow_what_may_be_patched_and_deleted(ward: World) -> None:
    ward.caller.principal = principal(
        "patient/Observation.rs patient/Observation.cud?encounter=Encounter/ey"
    )
    assert (await ward.patch("/Observation/oxy", FINAL)).status_code == 200
    for answer in (
        await ward.patch("/Observation/ox", FINAL),
        await ward.patch("/Observation/ox", []),
        await ward.patch("/Observation?_id=ox", FINAL),
        await ward.put("/Observation?_id=ox", body(None)),
        await ward.delete("/Observation?_id=ox"),
        await ward.delete("/Observation?patient=x"),
    ):
        assert answer.status_code == 403, answer.text
    assert (await unguarded(ward, "/Observation/ox")).headers["etag"] == 'W/"1"'
    assert (await unguarded(ward, "/Observation/oxy")).headers["etag"] == 'W/"2"'


async def test_what_may_be_written_but_not_read_can_not_be_patched(ward: World) -> None:
    ward.caller.principal = principal("patient/Observation.us")
    guess = [{"op": "test", "path": "/status", "value": "final"}]
    assert (await ward.patch("/Observation/ox", guess)).status_code == 403
    assert (await ward.patch("/Observation?_id=ox", guess)).status_code == 403


async def test_what_may_be_written_but_not_read_is_not_compared(ward: World) -> None:
    present = (await ward.get("/Observation/ox")).json()
    ward.caller.principal = principal("patient/Observation.us")
    # That a version is made tells nothing of what was there.
    assert (await ward.put("/Observation/ox", present)).headers["etag"] == 'W/"2"'
