"""Security labels in the guard: R and V need a scope that names them (R4 Security Labels)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.security.labels import CONFIDENTIALITY
from fhir_server.security.scopes import parse_scopes
from tests.consent_world import LABEL, Json, observation
from tests.fhir_world import World, fhir_world
from tests.security.test_guard_http import principal
from tests.stores import BOTH
from tests.worlds import world_on

PLAIN = principal("user/*.cruds", patient=None)
OPENED = principal(f"user/*.cruds user/*.cruds?_security={CONFIDENTIALITY}|R", patient=None)
AIAST = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST"}


async def fill(world: World) -> None:
    for resource in (
        {"resourceType": "Patient", "id": "x"},
        observation("plain", "x"),
        observation("normal", "x", meta={"security": [LABEL | {"code": "N"}]}),
        observation("r", "x", meta={"security": [LABEL]}),
        observation("v", "x", meta={"security": [LABEL | {"code": "V"}]}),
        observation("both", "x", meta={"security": [LABEL, LABEL | {"code": "V"}]}),
        observation("ai", "x", meta={"security": [AIAST]}),
    ):
        url = f"/{resource['resourceType']}/{resource['id']}"
        assert (await world.put(url, resource)).status_code == 201


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as world:
        await fill(world)
        world.caller.principal = PLAIN
        yield world


async def ids(world: World, query: str = "") -> set[str]:
    answer = (await world.get(f"/Observation{query}")).json()
    return {each["resource"]["id"] for each in answer.get("entry", ())}


@pytest.mark.parametrize(
    ("scopes", "seen"),
    [
        ("user/*.rs", {"plain", "normal", "ai"}),
        (f"user/*.rs user/*.rs?_security={CONFIDENTIALITY}|R", {"plain", "normal", "ai", "r"}),
        ("user/*.rs user/Observation.rs?_security=R", {"plain", "normal", "ai", "r"}),
        (f"user/Observation.rs?_security={CONFIDENTIALITY}|V", {"v"}),
        (
            f"user/Observation.rs?_security={CONFIDENTIALITY}|R,{CONFIDENTIALITY}|V",
            {"r", "v", "both"},
        ),
        (f"user/Observation.rs?_security:not={CONFIDENTIALITY}|N", {"plain", "ai"}),
    ],
)
async def test_what_is_restricted_needs_a_scope_that_names_its_label(
    ward: World, scopes: str, seen: set[str]
) -> None:
    ward.caller.principal = principal(scopes, patient=None)
    assert await ids(ward) == seen
    for id in ("plain", "r", "v", "both"):
        status = (await ward.get(f"/Observation/{id}")).status_code
        assert status == (200 if id in seen else 404)


@pytest.mark.parametrize("kind", BOTH)
async def test_a_first_label_counts_with_the_next_request(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    async with world_on(request, kind, tmp_path) as world:
        await world.put("/Observation/o", observation("o", "x"))
        world.caller.principal = PLAIN
        assert await ids(world) == {"o"}
        world.caller.principal = OPENED
        labelled = observation("o", "x", meta={"security": [LABEL]})
        assert (await world.put("/Observation/o", labelled)).status_code == 200
        assert await ids(world) == {"o"}
        world.caller.principal = PLAIN
        assert await ids(world) == set()
        assert (await world.get("/Observation/o/_history/1")).status_code == 404


async def test_a_label_can_neither_be_put_on_nor_taken_off_beyond_ones_scopes(ward: World) -> None:
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta"}]}
    meta["parameter"][0]["valueMeta"] = {"security": [LABEL]}  # type: ignore[index]
    assert (await ward.post("/Observation/plain/$meta-add", meta)).status_code == 403
    assert (await ward.post("/Observation/r/$meta-delete", meta)).status_code == 404
    change: Json = observation("plain", "x", meta={"security": [LABEL]})
    assert (await ward.put("/Observation/plain", change)).status_code == 403
    assert (await ward.put("/Observation/r", observation("r", "x"))).status_code == 404
    ward.caller.principal = OPENED
    assert (await ward.post("/Observation/plain/$meta-add", meta)).status_code == 200
    assert (await ward.post("/Observation/r/$meta-delete", meta)).status_code == 200
    ward.caller.principal = PLAIN
    assert await ids(ward) == {"normal", "ai", "r"}


async def test_while_something_is_restricted_nobody_else_chooses_ids_of_the_type(
    ward: World,
) -> None:
    assert (await ward.put("/Observation/new", observation("new", "x"))).status_code == 404
    free = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
    assert (await ward.put("/Basic/b", free)).status_code == 201


async def test_a_client_may_ask_for_what_people_have_made(ward: World) -> None:
    code = f"{AIAST['system']}|AIAST"
    assert await ids(ward, f"?_security:not={code}") == {"plain", "normal"}
    assert await ids(ward, f"?_security={code}") == {"ai"}
    # Asking for the restricted label by name opens nothing.
    assert await ids(ward, f"?_security={CONFIDENTIALITY}|R") == set()


def test_a_scope_that_opens_a_label_is_not_part_of_one_that_does_not() -> None:
    plain = parse_scopes("patient/*.rs")
    opened = parse_scopes(f"patient/*.rs?_security={CONFIDENTIALITY}|R")
    assert not plain.contains(opened)
    assert not opened.contains(plain)
    assert plain.meet(opened).resources == ()
    both = parse_scopes(f"{plain} {opened}")
    assert both.contains(opened)
    assert both.meet(opened) == opened
    narrower = parse_scopes(f"patient/Observation.rs?_security={CONFIDENTIALITY}|R&status=final")
    assert opened.contains(narrower)
    assert parse_scopes("patient/*.rs").contains(parse_scopes("patient/*.rs?_security:not=AIAST"))
