"""R4 RESTful API, "Transaction Processing Rules": patches, and entries found by criteria, on both
stores."""

import asyncio
import base64
import json
from typing import Any

import pytest

from fhir_server.interactions.entries import MAX_ENTRIES
from tests.bundles import batch, entry, transaction
from tests.fhir_world import PATIENT, Json, World, issues, observation, text_of
from tests.worlds import deleting_three, world

__all__ = ["deleting_three", "world"]

URL = "Patient?identifier=urn:mrn|17"
KNOWN = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "17"}]}
FEMALE = KNOWN | {"gender": "female"}
FHIRPATH_PATCH: Json = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "add"},
                {"name": "path", "valueString": "Patient"},
                {"name": "name", "valueString": "gender"},
                {"name": "value", "valueCode": "female"},
            ],
        }
    ],
}


def json_patch(*operations: Json) -> Json:
    """A JSON Patch as the Binary in which an entry brings it."""
    content = base64.b64encode(json.dumps(operations).encode()).decode()
    kind = "application/json-patch+json"
    return {"resourceType": "Binary", "contentType": kind, "data": content}


def add(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


MADE_FEMALE = json_patch(add("/gender", "female"))


def statuses(answer: Json) -> list[str]:
    return [each["response"]["status"][:3] for each in answer["entry"]]


@pytest.mark.parametrize("kind", [batch, transaction])
@pytest.mark.parametrize("patch", [MADE_FEMALE, FHIRPATH_PATCH])
async def test_a_patch_comes_as_binary_or_parameters(world: World, kind: Any, patch: Json) -> None:
    id = await world.create(KNOWN)
    asked = kind(entry("PATCH", f"Patient/{id}", patch, ifMatch='W/"1"'))
    response = await world.post("", asked)
    assert response.status_code == 200, response.text
    said = response.json()["entry"][0]["response"]
    assert (said["status"], said["etag"]) == ("200 OK", 'W/"2"')
    assert said["location"] == f"Patient/{id}/_history/2"
    assert (await world.get(f"/Patient/{id}")).json()["gender"] == "female"
    stale = await world.post("", kind(entry("PATCH", f"Patient/{id}", patch, ifMatch='W/"1"')))
    assert (statuses(stale.json()) if kind is batch else [str(stale.status_code)]) == ["412"]


@pytest.mark.parametrize("kind", [batch, transaction])
@pytest.mark.parametrize(
    ("patch", "status"),
    [
        (PATIENT, 400),
        (MADE_FEMALE | {"contentType": "text/plain"}, 400),
        (MADE_FEMALE | {"contentType": 5}, 400),
        (MADE_FEMALE | {"data": "%"}, 400),
        (MADE_FEMALE | {"data": 5}, 400),
        ({"resourceType": "Binary", "contentType": "application/json-patch+json"}, 400),
        ([], 400),
        ("x", 400),
        ({"resourceType": "Parameters", "parameter": 5}, 400),
        (json_patch(add("/gender", "pink")), 422),
        (json_patch({"op": "test", "path": "/active", "value": True}), 422),
    ],
)
async def test_a_patch_that_is_wrong_is_refused_at_its_entry(
    world: World, kind: Any, patch: Any, status: int
) -> None:
    id = await world.create(KNOWN)
    response = await world.post(
        "", kind(entry("POST", "Patient", PATIENT), entry("PATCH", f"Patient/{id}", patch))
    )
    if kind is batch:
        assert response.status_code == 200, response.text
        assert statuses(response.json()) == ["201", str(status)]
        return
    assert response.status_code == status, response.text
    assert all("Bundle.entry[1]" in each["expression"][0] for each in issues(response))
    assert await world.count("Patient") == 1


async def test_a_patch_of_nothing_fails_the_transaction(world: World) -> None:
    id = await world.create(KNOWN)
    await world.delete(f"/Patient/{id}")
    for url, status in (("Patient/nobody", 404), (f"Patient/{id}", 410), (URL, 404)):
        response = await world.post(
            "", transaction(entry("POST", "Patient", PATIENT), entry("PATCH", url, MADE_FEMALE))
        )
        assert response.status_code == status
        assert issues(response)[0]["expression"] == ["Bundle.entry[1]"]
    assert await world.count("Patient") == 0


async def test_a_patch_may_refer_to_what_another_entry_creates(world: World) -> None:
    await world.put("/Observation/o1", observation(id="o1"))
    patch = json_patch(add("/subject", {"reference": "urn:uuid:p"}))
    response = await world.post(
        "",
        transaction(
            entry("POST", "Patient", PATIENT) | {"fullUrl": "urn:uuid:p"},
            entry("PATCH", "Observation/o1", patch),
        ),
    )
    assert response.status_code == 200, response.text
    location = response.json()["entry"][0]["response"]["location"]
    made = (await world.get("/Observation/o1")).json()
    assert location.startswith(made["subject"]["reference"] + "/")


async def test_an_unknown_link_that_a_patch_brings_is_refused(world: World) -> None:
    await world.put("/Observation/o1", observation(id="o1"))
    patch = json_patch(add("/subject", {"reference": "urn:uuid:nobody"}))
    response = await world.post("", transaction(entry("PATCH", "Observation/o1", patch)))
    assert response.status_code == 400
    assert "urn:uuid:nobody" in text_of(response)
    assert issues(response)[0]["expression"] == ["Bundle.entry[0].resource.subject.reference"]


async def test_a_link_that_was_there_before_the_patch_stays(world: World) -> None:
    old = observation(id="o1", subject={"reference": "urn:uuid:old"})
    await world.put("/Observation/o1", old)
    patch = json_patch({"op": "replace", "path": "/status", "value": "amended"})
    response = await world.post("", transaction(entry("PATCH", "Observation/o1", patch)))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("kind", [batch, transaction])
async def test_updates_by_criteria_create_or_update(world: World, kind: Any) -> None:
    first = (await world.post("", kind(entry("PUT", URL, KNOWN)))).json()
    second = (await world.post("", kind(entry("PUT", URL, FEMALE)))).json()
    third = (await world.post("", kind(entry("PUT", URL, FEMALE)))).json()
    assert statuses(first) == ["201"]
    assert statuses(second) == statuses(third) == ["200"]
    etags = [each["entry"][0]["response"]["etag"] for each in (first, second, third)]
    assert etags == ['W/"1"', 'W/"2"', 'W/"2"']
    assert await world.count("Patient") == 1


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        (URL, FEMALE | {"id": "other"}, 400),
        (f"{URL}&_sort=name", FEMALE, 400),
        ("Patient?colour=red", FEMALE, 400),
        ("Patient", FEMALE, 412),
        ("Patient?identifier=urn:mrn|18", FEMALE | {"id": "mine"}, 409),
    ],
)
async def test_updates_by_criteria_are_refused_for_the_same_reasons(
    world: World, url: str, body: Json, status: int
) -> None:
    await world.put("/Patient/mine", KNOWN | {"id": "mine"})
    response = await world.post(
        "", transaction(entry("POST", "Patient", PATIENT), entry("PUT", url, body))
    )
    assert response.status_code == status, response.text
    assert issues(response)[0]["expression"][0].startswith("Bundle.entry[1]")
    assert await world.count("Patient") == 1


async def test_several_matches_fail_the_transaction(world: World) -> None:
    for _ in range(2):
        await world.create(KNOWN)
    for asked in (
        entry("PUT", URL, FEMALE),
        entry("PATCH", URL, MADE_FEMALE),
        entry("DELETE", URL),
    ):
        response = await world.post("", transaction(entry("POST", "Patient", PATIENT), asked))
        assert response.status_code == 412
        assert issues(response)[0]["code"] == "multiple-matches"
    assert await world.count("Patient") == 2


@pytest.mark.parametrize("is_there", [True, False])
async def test_two_updates_by_the_same_criteria_overlap(world: World, is_there: bool) -> None:
    if is_there:
        await world.create(KNOWN)
    response = await world.post(
        "", transaction(entry("PUT", URL, KNOWN), entry("PUT", URL, FEMALE))
    )
    assert response.status_code == 400
    assert "written by another entry" in text_of(response)
    assert issues(response)[0]["expression"] == ["Bundle.entry[1].request.url"]
    assert await world.count("Patient") == int(is_there)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("other", ["PUT", "PATCH", "DELETE"])
async def test_identities_found_by_criteria_overlap_with_others(
    world: World, method: str, other: str
) -> None:
    await world.put("/Patient/p1", KNOWN | {"id": "p1"})
    bodies = {"PUT": FEMALE, "PATCH": MADE_FEMALE, "DELETE": None}
    named = dict(bodies, PUT=FEMALE | {"id": "p1"})
    response = await world.post(
        "",
        transaction(entry(method, URL, bodies[method]), entry(other, "Patient/p1", named[other])),
    )
    assert response.status_code == 400, response.text
    assert "Patient/p1 is written by another entry" in text_of(response)
    assert (await world.get("/Patient/p1")).headers["etag"] == 'W/"1"'


async def test_criteria_that_match_what_another_entry_creates_overlap(world: World) -> None:
    response = await world.post(
        "", transaction(entry("POST", "Patient", KNOWN), entry("PUT", URL, FEMALE))
    )
    assert response.status_code == 400
    assert await world.count("Patient") == 0


@pytest.mark.parametrize("bad", [[], 5, {}, "a b"])
async def test_an_id_that_is_none_is_refused_by_name(world: World, bad: Any) -> None:
    for url in (URL, "Patient/p1"):
        response = await world.post("", transaction(entry("PUT", url, KNOWN | {"id": bad})))
        assert response.status_code == 400, response.text
        assert any("entry[0].resource.id" in each["expression"][0] for each in issues(response))


async def test_deletions_by_criteria_in_one_commit(deleting_three: World) -> None:
    for _ in range(3):
        await deleting_three.create(KNOWN)
    response = await deleting_three.post(
        "",
        transaction(
            entry("POST", "Patient", KNOWN, ifNoneExist=URL),
            entry("DELETE", URL),
            entry("GET", URL),
        ),
    )
    assert response.status_code == 200, response.text
    created, deleted, searched = response.json()["entry"]
    assert created["response"]["status"] == "201 Created"
    assert len(deleted["response"]["outcome"]["issue"]) == 3
    assert searched["resource"]["total"] == 1
    journal = await deleting_three.journal()
    assert [each["interaction"] for each in journal].count("delete") == 3


async def test_a_deletion_by_criteria_that_match_nothing_is_no_mistake(world: World) -> None:
    response = await world.post("", transaction(entry("DELETE", URL)))
    assert statuses(response.json()) == ["204"]
    assert (await world.journal())[0]["query"] == URL


async def test_a_failing_entry_undoes_what_criteria_found(world: World) -> None:
    await world.put("/Patient/p1", KNOWN | {"id": "p1"})
    for asked in (
        entry("PUT", URL, FEMALE),
        entry("PATCH", URL, MADE_FEMALE),
        entry("DELETE", URL),
    ):
        response = await world.post("", transaction(asked, entry("GET", "Patient/nobody")))
        assert response.status_code == 404
    assert (await world.get("/Patient/p1")).headers["etag"] == 'W/"1"'
    assert [each["outcome"] for each in await world.journal()][1:4] == ["refused"] * 3


async def test_conditional_references_see_what_criteria_update(world: World) -> None:
    await world.create(KNOWN)
    response = await world.post(
        "",
        transaction(
            entry("PUT", URL, KNOWN | {"identifier": [{"system": "urn:mrn", "value": "17"},
                                                     {"system": "urn:new", "value": "1"}]}),
            entry("POST", "Observation",
                  observation(subject={"reference": "Patient?identifier=urn:new|1"})),
        ),
    )  # fmt: skip
    assert response.status_code == 200, response.text
    updated, made = response.json()["entry"]
    stored = (await world.get(f"/{made['response']['location']}")).json()
    assert updated["response"]["location"].startswith(stored["subject"]["reference"])


async def test_transactions_with_the_same_criteria_at_once_make_one_resource(world: World) -> None:
    asked = transaction(entry("PUT", URL, KNOWN))
    answers = await asyncio.gather(*(world.post("", asked) for _ in range(20)))
    assert sorted(statuses(each.json())[0] for each in answers) == ["200"] * 19 + ["201"]
    assert await world.count("Patient") == 1


async def test_entries_of_a_batch_with_the_same_criteria_make_one_resource(world: World) -> None:
    answer = await world.post("", batch(*(entry("PUT", URL, KNOWN) for _ in range(20))))
    assert sorted(statuses(answer.json())) == ["200"] * 19 + ["201"]
    assert await world.count("Patient") == 1


async def test_each_kind_of_request_is_an_entry_of_a_batch(world: World) -> None:
    id = await world.create(KNOWN)
    await world.create(observation(subject={"reference": f"Patient/{id}"}))
    urls = {
        f"Patient/{id}": "Patient",
        f"Patient/{id}/_history/1": "Patient",
        f"Patient/{id}/_history": "Bundle",
        "Patient/_history": "Bundle",
        "_history": "Bundle",
        URL: "Bundle",
        "?_type=Patient": "Bundle",
        f"Patient/{id}/Observation": "Bundle",
        f"Patient/{id}/*": "Bundle",
        f"Patient/{id}/$everything": "Bundle",
        "metadata": "CapabilityStatement",
    }
    asked = [entry("GET", url) for url in urls]
    asked += [
        entry("POST", "Patient/_search?identifier=urn:mrn|17"),
        entry("HEAD", f"Patient/{id}"),
    ]
    answer = (await world.post("", batch(*asked))).json()
    assert statuses(answer) == ["200"] * len(asked), answer
    found = [each["resource"]["resourceType"] for each in answer["entry"][:-2]]
    assert found == list(urls.values())
    assert answer["entry"][-2]["resource"]["total"] == 1
    assert "resource" not in answer["entry"][-1]
    assert answer["entry"][-1]["response"]["etag"] == 'W/"1"'


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_more_entries_than_one_request_may_have_are_413(world: World, kind: str) -> None:
    one = b'{"request":{"method":"GET","url":"Patient/a"}}'
    entries = b",".join([one] * (MAX_ENTRIES + 1))
    body = b'{"resourceType":"Bundle","type":"%s","entry":[%s]}' % (kind.encode(), entries)
    assert len(body) < 1_000_000
    response = await world.post("", body)
    assert response.status_code == 413
    assert str(MAX_ENTRIES) in text_of(response)
    assert (await world.post("", body + b" " * 1_000_000)).status_code == 413
