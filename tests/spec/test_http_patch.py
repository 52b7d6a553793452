"""R4 RESTful API, "patch": JSON Patch (RFC 6902) and FHIRPath Patch, on both stores."""

from typing import Any

import pytest

from tests.fhir_world import PATIENT, Json, World, issues, observation, text_of
from tests.worlds import world

__all__ = ["world"]

WEIGHED = b"""{"resourceType":"Observation","id":"o1","status":"preliminary","code":{"text":"x"},
    "valueQuantity":{"value":1.50,"unit":"kg"},"note":[{"text":"a"},{"text":"b"}]}"""


def op(op: str, path: str, **more: Any) -> Json:
    """One operation of a JSON Patch."""
    return {"op": op, "path": path} | more


def fhirpath(type: str, path: str, **parts: Any) -> Json:
    """A FHIRPath Patch of one operation; parts by name, each with the type of its value."""
    said = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    said += [{"name": name} | value for name, value in parts.items()]
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "operation", "part": said}],
    }


async def weighed(world: World) -> str:
    """The URL of an Observation with a value and two notes."""
    assert (await world.put("/Observation/o1", WEIGHED)).status_code == 201
    return "/Observation/o1"


@pytest.mark.parametrize(
    ("operations", "notes"),
    [
        ([op("add", "/note/0", value={"text": "c"})], ["c", "a", "b"]),
        ([op("add", "/note/-", value={"text": "c"})], ["a", "b", "c"]),
        ([op("remove", "/note/0")], ["b"]),
        ([op("replace", "/note/1", value={"text": "c"})], ["a", "c"]),
        ([op("move", "/note/0", **{"from": "/note/1"})], ["b", "a"]),
        ([op("copy", "/note/2", **{"from": "/note/0"})], ["a", "b", "a"]),
        ([op("test", "/note/0/text", value="a"), op("remove", "/note/1")], ["a"]),
    ],
)
async def test_each_operation_of_json_patch(
    world: World, operations: list[Json], notes: list[str]
) -> None:
    url = await weighed(world)
    response = await world.patch(url, operations)
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == 'W/"2"'
    assert [each["text"] for each in response.json()["note"]] == notes
    assert (await world.get(url)).content == response.content
    assert (await world.get(f"{url}/_history")).json()["total"] == 2


@pytest.mark.parametrize(
    ("patch", "notes"),
    [
        (
            fhirpath(
                "add",
                "Observation",
                name={"valueString": "note"},
                value={"part": [{"name": "text", "valueMarkdown": "c"}]},
            ),
            ["a", "b", "c"],
        ),
        (
            fhirpath(
                "insert",
                "Observation.note",
                index={"valueInteger": 1},
                value={"valueAnnotation": {"text": "c"}},
            ),
            ["a", "c", "b"],
        ),
        (fhirpath("delete", "Observation.note[0]"), ["b"]),
        (fhirpath("replace", "Observation.note[1].text", value={"valueMarkdown": "c"}), ["a", "c"]),
        (
            fhirpath(
                "move",
                "Observation.note",
                source={"valueInteger": 1},
                destination={"valueInteger": 0},
            ),
            ["b", "a"],
        ),
    ],
)
async def test_operations_of_fhirpath_patch(world: World, patch: Json, notes: list[str]) -> None:
    response = await world.patch(await weighed(world), patch)
    assert response.status_code == 200, response.text
    assert [each["text"] for each in response.json()["note"]] == notes


async def test_a_fhirpath_patch_may_come_in_xml(world: World) -> None:
    body = b"""<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>
        <part><name value="type"/><valueCode value="replace"/></part>
        <part><name value="path"/><valueString value="Observation.status"/></part>
        <part><name value="value"/><valueCode value="final"/></part></parameter></Parameters>"""
    response = await world.patch(await weighed(world), body, Content_Type="application/fhir+xml")
    assert response.json()["status"] == "final"


async def test_what_is_not_patched_keeps_its_digits(world: World) -> None:
    url = await weighed(world)
    for patch in (
        [op("replace", "/status", value="final")],
        fhirpath("replace", "Observation.status", value={"valueCode": "amended"}),
    ):
        response = await world.patch(url, patch)
        assert response.status_code == 200, response.text
        assert b'"value":1.50' in (await world.get(url)).content


async def test_what_is_patched_in_keeps_its_digits(world: World) -> None:
    url = await weighed(world)
    body = b'[{"op":"replace","path":"/valueQuantity/value","value":2.500}]'
    await world.patch(url, body, Content_Type="application/json-patch+json")
    assert b'"value":2.500' in (await world.get(url)).content


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ([op("test", "/status", value="final")], "operation 0 (test /status)"),
        ([op("test", "/status", value="preliminary"), op("remove", "/x")], "operation 1"),
        ([op("replace", "/note/2", value={})], "operation 0 (replace /note/2)"),
        ([op("add", "/note/3", value={})], "ends before 3"),
        ([op("add", "/note/01", value={})], "'01'"),
        ([op("remove", "/note/-")], "'-'"),
        ([op("add", "/status/x", value=1)], "operation 0"),
        ([op("move", "/x", **{"from": "/y"})], "operation 0"),
        ([op("remove", "")], "no resource"),
        ([op("replace", "", value=[])], "no resource"),
    ],
)
async def test_a_patch_that_can_not_be_applied_is_422_by_its_operation(
    world: World, operations: list[Json], said: str
) -> None:
    url = await weighed(world)
    response = await world.patch(url, operations)
    assert response.status_code == 422
    assert said in text_of(response)
    assert (await world.get(url)).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"op": "remove"}, "array"),
        ([{"op": "swap", "path": "/a"}], "operation 0"),
        ([{"op": ["add"], "path": "/a"}], "operation 0"),
        ([op("remove", "/status"), {"op": "remove"}], "operation 1 of the patch (remove)"),
        ([{"op": "add", "path": "/a"}], "no value"),
        ([op("copy", "/a")], "no from"),
        ([op("remove", "status")], "'status'"),
        ([op("remove", "/a~2b")], "'/a~2b'"),
        ([op("remove", "/a", **{"from": 1}) | {"path": 1}], "no JSON Pointer"),
        ([op("move", "/note/0", **{"from": "/note"})], "into itself"),
        ([7], "operation 0"),
    ],
)
async def test_what_is_no_json_patch_is_400(world: World, body: Any, said: str) -> None:
    url = await weighed(world)
    response = await world.patch(url, body, Content_Type="application/json-patch+json")
    assert response.status_code == 400
    assert said in text_of(response)


@pytest.mark.parametrize(
    ("patch", "status", "said"),
    [
        (PATIENT, 400, "Parameters"),
        ({"resourceType": "Parameters", "parameter": [{"name": "x"}]}, 400, "inv-1"),
        (fhirpath("swap", "Observation.status"), 400, "type is one of"),
        (fhirpath("replace", "Observation.status"), 400, "replace has path, value"),
        (fhirpath("delete", "Observation.("), 400, "path"),
        (fhirpath("delete", "Observation.note.where(text.matches('^(a|a)+$'))"), 400, "matches()"),
        (fhirpath("delete", "Observation.note.`repeat`($this & $this)"), 400, "repeat()"),
        (fhirpath("delete", "Observation.note"), 422, "2 elements"),
        (fhirpath("delete", "Patient.name + 'x'"), 200, ""),
        (
            fhirpath("replace", "Observation.status", value={"valueInteger": 1}),
            422,
            "operation 0 (replace Observation.status): valueInteger",
        ),
        (
            fhirpath("replace", "Observation.subject", value={"valueString": "x"}),
            422,
            "no elements",
        ),
    ],
)
async def test_what_a_fhirpath_patch_gets_wrong_is_named(
    world: World, patch: Json, status: int, said: str
) -> None:
    response = await world.patch(await weighed(world), patch)
    assert response.status_code == status, response.text
    if said:
        assert said in text_of(response)


async def test_a_path_that_takes_too_long_is_refused_while_others_wait_no_longer(
    world: World,
) -> None:
    url = await weighed(world)
    many = [{"text": f"{number}"} for number in range(300)]
    assert (await world.patch(url, [op("replace", "/note", value=many)])).status_code == 200
    path = "Observation.note.where(%resource.note.where(%resource.note.text.exists()).exists())"
    response = await world.patch(url, fhirpath("delete", path))
    assert response.status_code == 422, response.text
    assert "takes too long" in text_of(response)


async def test_a_result_that_is_not_valid_is_422_with_its_place(world: World) -> None:
    url = await weighed(world)
    response = await world.patch(url, [op("replace", "/note/1/text", value=3)])
    assert response.status_code == 422
    assert issues(response)[0]["expression"] == ["Observation.note[1].text"]
    gone = await world.patch(url, fhirpath("delete", "Observation.status"))
    assert gone.status_code == 422
    assert (await world.get(f"{url}/_history")).json()["total"] == 1


@pytest.mark.parametrize(
    "operations",
    [
        [op("replace", "/id", value="o2")],
        [op("remove", "/id")],
        [op("replace", "/resourceType", value="Patient")],
        [op("replace", "", value=PATIENT)],
    ],
)
async def test_what_a_resource_is_can_not_be_patched(world: World, operations: list[Json]) -> None:
    url = await weighed(world)
    response = await world.patch(url, operations)
    assert response.status_code == 422
    assert (await world.get(url)).headers["etag"] == 'W/"1"'
    assert (await world.get("/Observation/o2")).status_code == 404


async def test_a_patch_can_not_choose_version_and_time(world: World) -> None:
    url = await weighed(world)
    response = await world.patch(
        url,
        [
            op("replace", "/meta/versionId", value="9"),
            op("replace", "/meta/lastUpdated", value="2001-01-01T00:00:00Z"),
            op("replace", "/status", value="final"),
        ],
    )
    assert response.json()["meta"]["versionId"] == "2"
    assert response.json()["meta"]["lastUpdated"].startswith("2026-11-24")


async def test_what_is_not_there_is_404_and_what_is_deleted_410(world: World) -> None:
    never = await world.patch("/Observation/nobody", [])
    await world.delete(await weighed(world))
    deleted = await world.patch("/Observation/o1", [])
    assert (never.status_code, deleted.status_code) == (404, 410)


async def test_if_match_and_if_none_match_are_honoured(world: World) -> None:
    url, final = await weighed(world), [op("replace", "/status", value="final")]
    assert (await world.patch(url, final, If_Match='W/"2"')).status_code == 412
    assert (await world.patch(url, final, If_None_Match='W/"1"')).status_code == 412
    assert (await world.patch(url, final, If_Match='W/"1"')).status_code == 200
    assert (await world.patch(url, final, If_Match='W/"1"')).status_code == 412


async def test_a_patch_that_changes_nothing_keeps_the_version_and_is_audited(world: World) -> None:
    url = await weighed(world)
    first = await world.get(url)
    answer = await world.patch(url, [op("replace", "/status", value="preliminary")])
    assert answer.status_code == 200
    assert answer.content == first.content
    for name in ("etag", "last-modified"):
        assert answer.headers[name] == first.headers[name]
    last = (await world.journal())[-1]
    assert (last["interaction"], last["outcome"], last["version"]) == ("patch", "success", 1)


async def test_a_patch_is_audited_as_a_patch_and_found_by_what_it_says(world: World) -> None:
    await world.patch(await weighed(world), [op("replace", "/status", value="final")])
    last = (await world.journal())[-1]
    assert (last["interaction"], last["version"], last["status"]) == ("patch", 2, 200)
    assert (await world.get("/Observation?status=final")).json()["total"] == 1
    assert (await world.get("/Observation?status=preliminary")).json()["total"] == 0


async def test_prefer_decides_what_a_patch_answers(world: World) -> None:
    url = await weighed(world)
    empty = await world.patch(url, [], Prefer="return=minimal")
    assert (empty.status_code, empty.content) == (200, b"")
    said = await world.patch(url, [], Prefer="return=OperationOutcome")
    assert "Observation/o1 version 1" in text_of(said)


async def test_a_patch_may_not_leave_a_conditional_reference(world: World) -> None:
    reference = {"reference": "Patient?identifier=1"}
    response = await world.patch(await weighed(world), [op("add", "/subject", value=reference)])
    assert response.status_code == 422
    assert issues(response)[0]["expression"] == ["Observation.subject.reference"]


async def test_a_patch_may_not_say_that_the_resource_is_a_part_of_itself(world: World) -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
    tags = [{"system": system, "code": "SUBSETTED"}]
    response = await world.patch(await weighed(world), [op("add", "/meta/tag", value=tags)])
    assert response.status_code == 422


@pytest.mark.parametrize(
    "operations",
    [
        [op("copy", "/contained" + "/contained" * n, **{"from": ""}) for n in range(20)],
        [op("add", "/extension" * n, value={}) for n in range(1, 120)],
    ],
)
async def test_a_patch_that_nests_without_end_is_refused(
    world: World, operations: list[Json]
) -> None:
    response = await world.patch(await weighed(world), operations)
    assert response.status_code == 422
    assert "100 levels" in text_of(response)


async def test_a_patch_that_multiplies_is_refused(world: World) -> None:
    body = [op("copy", "/note/-", **{"from": "/note"}) for _ in range(40)]
    response = await world.patch(await weighed(world), body)
    assert response.status_code == 422
    assert "100000 values" in text_of(response) or "levels" in text_of(response)


async def test_criteria_in_the_url_say_what_is_patched(world: World) -> None:
    await weighed(world)
    final = [op("replace", "/status", value="final")]
    nothing = await world.patch("/Observation?status=amended", final)
    assert nothing.status_code == 404
    one = await world.patch("/Observation?status=preliminary", final)
    assert (one.status_code, one.json()["id"]) == (200, "o1")
    await world.create(observation())
    several = await world.patch("/Observation?status=final", final)
    assert several.status_code == 412
    assert issues(several)[0]["code"] == "multiple-matches"
    assert await world.count("Observation") == 2


async def test_the_audit_record_of_a_patch_by_criteria_says_what_was_asked(world: World) -> None:
    await world.patch("/Observation?status=amended", [])
    last = (await world.journal())[-1]
    assert last["outcome"] == "refused"
    assert last["query"] == "Observation?status=amended"
