"""$model-propose, $model-approve, $model-decline and $model-retire; what hides shadow results."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fhir_server.fhir.drift import DRIFT, TRAINING_SET
from fhir_server.fhir.model_versions import (
    AI_DEVICE,
    COMPARISON,
    DECISION,
    DEVICE_TYPES,
    MEASURER,
    SHADOW_RESULT,
    SYSTEM_VERSIONS,
    VERDICT,
    Compared,
    Standing,
    State,
    compared_extension,
    is_decision,
    standing_of,
    with_standing,
)
from fhir_server.publication import Publisher, publish
from fhir_server.security.emergencies import Emergency, begin
from fhir_server.security.principal import Principal
from tests.fhir_world import BASE, Json, World, extract, fhir_world, text_of

SHADOW = f"{SHADOW_RESULT['system']}|{SHADOW_RESULT['code']}"


def person(user: str, *roles: str, scopes: str = "user/*.cruds", who: str = "") -> Principal:
    return Principal(
        subject=user,
        client_id="client",
        name=user,
        roles=frozenset(roles or ("governance",)),
        fhir_user=who or f"Practitioner/{user}",
        scopes=scopes,
        patient=None,
        encounter=None,
        session=None,
    )


ADA, BEN = person("ada"), person("ben", "admin")
MEASURING = replace(
    person(MEASURER, scopes="system/*.cruds"),
    client_id=MEASURER,
    roles=frozenset(),
    fhir_user=None,
)


def version(id: str, state: State, **standing: bool) -> Json:
    device = {
        "resourceType": "Device",
        "id": id,
        "identifier": [{"system": SYSTEM_VERSIONS, "value": f"key-of-{id}"}],
        "type": {"coding": [{"system": DEVICE_TYPES, "code": AI_DEVICE}]},
    }
    return with_standing(device, Standing("malaria-cell", "malaria", state, **standing))


def comparison(candidate: str, active: str, verdict: str = "better", **files: str) -> Json:
    keys = {name: f"key-of-{name}" for name in ("on-trial", "in-use")} | files
    compared = Compared(keys["on-trial"], keys["in-use"], "c" * 64, "test", 3, 120)
    return {
        "resourceType": "MeasureReport",
        "status": "complete",
        "type": "summary",
        "measure": COMPARISON,
        "subject": {"reference": candidate},
        "period": {"start": "2026-11-01", "end": "2026-11-20"},
        "evaluatedResource": [{"reference": active}],
        "extension": [{"url": VERDICT, "valueCode": verdict}, compared_extension(compared)],
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server that has enrolled three versions: in use, on trial, and in the shadow."""
    async with fhir_world(tmp_path) as running:
        publisher = Publisher(running.store, extract(), running.clock, lambda: "an-id", BASE)
        versions = [
            version("in-use", State.ACTIVE, was_active=True),
            version("on-trial", State.CANDIDATE),
            version("new", State.SHADOW),
        ]
        await publish(publisher, versions)
        yield running


async def call(world: World, who: Principal, url: str, **given: object) -> httpx.Response:
    kinds = {"to": "Code", "share": "Integer", "verdict": "Reference", "version": "Id"}
    parameter = [
        {"name": name, f"value{kinds.get(name, 'String')}": value} for name, value in given.items()
    ]
    world.caller.principal = who
    body: Json = {"resourceType": "Parameters", "parameter": parameter}
    return await world.post(f"/Device/{url}", body)


async def standing(world: World, id: str) -> Standing:
    world.caller.principal = None
    found = standing_of((await world.get(f"/Device/{id}")).json())
    assert found is not None
    return found


async def propose_new(world: World, **given: object) -> None:
    if (await standing(world, "on-trial")).state is not State.RETIRED:
        await call(world, ADA, "on-trial/$model-retire", reason="Not better")
    asked = {"to": "candidate", "reason": "Fewer false alarms", "share": 10} | given
    answer = await call(world, ADA, "new/$model-propose", **asked)
    assert answer.status_code == 200, answer.text


async def compared(world: World, verdict: str = "better") -> Json:
    world.caller.principal = MEASURING
    id = await world.create(comparison("Device/on-trial", "Device/in-use", verdict))
    return {"reference": f"MeasureReport/{id}"}


async def propose_active(world: World, id: str = "on-trial", verdict: str = "better") -> Json:
    report = await compared(world, verdict)
    asked = {"to": "active", "reason": "Better on 40 patients", "verdict": report}
    answer = await call(world, ADA, f"{id}/$model-propose", **asked)
    return {"status": answer.status_code, "text": answer.text}


async def test_what_one_person_proposes_another_approves(world: World) -> None:
    await propose_new(world)
    assert (await standing(world, "new")).state is State.SHADOW

    answer = await call(world, BEN, "new/$model-approve", version="2")

    assert answer.status_code == 200, answer.text
    now = await standing(world, "new")
    assert (now.state, now.share, now.proposal) == (State.CANDIDATE, 10, None)
    found = (await world.get("/Provenance?target=Device/new&_sort=recorded")).json()["entry"]
    last = found[-1]["resource"]
    people = [(a["type"]["coding"][0]["code"], a["who"]["reference"]) for a in last["agent"]]
    assert people == [("author", "Practitioner/ada"), ("verifier", "Practitioner/ben")]
    assert "Fewer false alarms" in last["reason"][0]["text"]
    assert "Device" in str((await world.journal())[-1])


@pytest.mark.parametrize("same", [ADA, person("ada.2", who="Practitioner/ada")])
async def test_the_proposer_cant_approve_by_any_account(world: World, same: Principal) -> None:
    await propose_new(world)

    answer = await call(world, same, "new/$model-approve", version="2")

    assert answer.status_code == 422
    assert "must be somebody else" in text_of(answer)
    assert (await standing(world, "new")).state is State.SHADOW


@pytest.mark.parametrize("role", ["doctor", "nurse", "auditor", "service"])
async def test_other_roles_decide_nothing(world: World, role: str) -> None:
    who = person("dora", role, scopes="user/*.cruds system/*.cruds")
    answer = await call(world, who, "new/$model-retire", reason="No")
    assert answer.status_code == 403
    assert (await standing(world, "new")).state is State.SHADOW


async def test_becoming_active_needs_a_comparison_that_found_it_better(world: World) -> None:
    bare = await call(world, ADA, "on-trial/$model-propose", to="active", reason="It is new")
    assert bare.status_code == 422
    assert "comparison" in text_of(bare)
    worse = await propose_active(world, verdict="no-better")
    assert worse["status"] == 422
    assert "did not find it better" in worse["text"]
    other = await propose_active(world, "new")
    assert other["status"] == 422


async def test_a_comparison_is_taken_from_the_client_that_measures_alone(world: World) -> None:
    said = comparison("Device/on-trial", "Device/in-use")
    other = replace(MEASURING, client_id="x", subject="x")
    for who in (None, BEN, person("dora", "doctor"), other):
        world.caller.principal = who
        for forged in (said, {**said, "measure": f"{COMPARISON}|1"}, {**said, "measure": "urn:x"}):
            refused = await world.post("/MeasureReport", forged)
            assert refused.status_code == 403, refused.text
        put = await world.put("/MeasureReport/forged", {**said, "id": "forged"})
        assert put.status_code == 403, put.text


async def test_a_stored_comparison_is_changed_by_nobody(world: World) -> None:
    reference = (await compared(world, "no-better"))["reference"]
    for who in (None, person("dora", "doctor"), MEASURING):
        world.caller.principal = who
        now = (await world.get(f"/{reference}")).json()
        better = [{"url": VERDICT, "valueCode": "better"}, *now["extension"][1:]]
        for changed in ({**now, "extension": better}, {**now, "measure": "urn:x:y"}):
            refused = await world.put(f"/{reference}", changed)
            assert refused.status_code == 422, refused.text
            assert "nobody changes it" in text_of(refused)
        gone = await world.delete(f"/{reference}")
        assert gone.status_code == 422, gone.text
        assert (await world.get(f"/{reference}")).status_code == 200


@pytest.mark.parametrize("measure", [DRIFT, f"{TRAINING_SET}|1"])
async def test_what_the_watch_counted_is_written_by_services_alone(
    world: World, measure: str
) -> None:
    said = {
        "resourceType": "MeasureReport",
        "status": "complete",
        "type": "summary",
        "measure": measure,
        "period": {"start": "2026-11-01", "end": "2026-11-20"},
    }
    world.caller.principal = MEASURING
    id = await world.create(said)
    assert (await world.put(f"/MeasureReport/{id}", {**said, "id": id})).status_code == 200
    other = await world.create({**said, "measure": "urn:example:other"})

    world.caller.principal = person("dora", "doctor")
    for refused in (
        await world.post("/MeasureReport", said),
        await world.put(f"/MeasureReport/{other}", {**said, "id": other}),
        await world.put(f"/MeasureReport/{id}", {**said, "id": id, "measure": "urn:example:x"}),
        await world.delete(f"/MeasureReport/{id}"),
    ):
        assert refused.status_code == 403, refused.text
    assert (await world.delete(f"/MeasureReport/{other}")).status_code == 204


async def test_the_files_behind_a_registered_version_are_changed_by_nobody(world: World) -> None:
    world.caller.principal = BEN
    now = (await world.get("/Device/in-use")).json()
    trial = [{"system": SYSTEM_VERSIONS, "value": "key-of-on-trial"}]
    for names in (trial, [*trial, *now["identifier"]], []):
        changed = {**now, "identifier": names}
        if not names:
            del changed["identifier"]
        refused = await world.put("/Device/in-use", changed)
        assert refused.status_code == 422, refused.text
    serial = {"system": "urn:example:serial", "value": "7"}
    named = {**now, "identifier": [*now["identifier"], serial]}
    assert (await world.put("/Device/in-use", named)).status_code == 200


async def test_a_comparison_of_other_files_promotes_nothing(world: World) -> None:
    for files, says in (
        ({"on-trial": "other"}, "compared other files than those of Device/on-trial"),
        ({"in-use": "other"}, "compared with other files than those of Device/in-use"),
    ):
        world.caller.principal = MEASURING
        id = await world.create(comparison("Device/on-trial", "Device/in-use", **files))
        report = {"reference": f"MeasureReport/{id}"}
        asked = {"to": "active", "reason": "Better", "verdict": report}
        answer = await call(world, ADA, "on-trial/$model-propose", **asked)
        assert answer.status_code == 422
        assert says in text_of(answer)


async def test_a_new_active_version_retires_the_one_before_in_the_same_step(world: World) -> None:
    assert (await propose_active(world))["status"] == 200
    answer = await call(world, BEN, "on-trial/$model-approve", version="2")
    assert answer.status_code == 200, answer.text
    assert (await standing(world, "on-trial")).state is State.ACTIVE
    assert (await standing(world, "in-use")).state is State.RETIRED
    old = (await world.get("/Device/in-use")).json()
    assert old["status"] == "inactive"

    back = await call(world, ADA, "in-use/$model-propose", to="active", reason="Too many alarms")
    assert back.status_code == 200, back.text
    read = back.json()["meta"]["versionId"]
    assert (await call(world, BEN, "in-use/$model-approve", version=read)).status_code == 200
    assert (await standing(world, "in-use")).state is State.ACTIVE
    assert (await standing(world, "on-trial")).state is State.RETIRED


async def test_a_proposal_against_a_version_that_is_no_longer_active_is_void(world: World) -> None:
    assert (await propose_active(world))["status"] == 200
    await call(world, BEN, "in-use/$model-retire", reason="Recalled")
    answer = await call(world, BEN, "on-trial/$model-approve", version="2")
    assert answer.status_code in (409, 422)
    assert (await standing(world, "on-trial")).state is State.CANDIDATE


async def test_of_two_approvals_at_once_one_wins(world: World) -> None:
    await propose_new(world)
    world.caller.principal = BEN
    given = [{"name": "version", "valueId": "2"}]
    body: Json = {"resourceType": "Parameters", "parameter": given}
    answers = await asyncio.gather(
        *(world.post("/Device/new/$model-approve", body) for _ in range(4))
    )
    assert sorted(each.status_code for each in answers) == [200, 412, 412, 412]


async def test_an_approval_is_of_the_proposal_that_was_read(world: World) -> None:
    await propose_new(world)
    await call(world, ADA, "new/$model-decline", version="2", reason="A mistake")
    await propose_new(world, share=50)
    answer = await call(world, BEN, "new/$model-approve", version="2")
    assert answer.status_code == 412
    assert (await standing(world, "new")).state is State.SHADOW


@pytest.mark.parametrize(
    ("id", "asked", "says"),
    [
        ("new", {"to": "active", "reason": "Now"}, "no step"),
        ("new", {"to": "candidate", "reason": "x", "share": 51}, "0 to 50"),
        ("new", {"to": "candidate"}, "reason"),
        ("new", {"to": "best", "reason": "x"}, "none of"),
        ("in-use", {"to": "candidate", "reason": "x"}, "no step"),
        ("new", {"to": "candidate", "reason": "x"}, "on-trial is the candidate"),
    ],
)
async def test_steps_that_there_are_not_are_refused(
    world: World, id: str, asked: Json, says: str
) -> None:
    answer = await call(world, ADA, f"{id}/$model-propose", **asked)
    assert answer.status_code in (400, 409, 422), answer.text
    assert says in answer.text


async def test_nobody_writes_a_standing_or_deletes_a_version(world: World) -> None:
    world.caller.principal = BEN
    forged = version("new", State.ACTIVE)
    assert (await world.put("/Device/new", forged)).status_code == 422
    bare = {name: value for name, value in forged.items() if name != "extension"}
    assert (await world.put("/Device/new", bare)).status_code == 422
    made = await world.post("/Device", version("x", State.ACTIVE))
    assert made.status_code == 422
    assert (await world.delete("/Device/new")).status_code == 422
    patch = [{"op": "replace", "path": "/extension/0/extension/2/valueCode", "value": "active"}]
    assert (await world.patch("/Device/new", patch)).status_code == 422

    now = (await world.get("/Device/new")).json()
    noted = {**now, "note": [{"text": "Seen"}]}
    assert (await world.put("/Device/new", noted)).status_code == 200


async def test_a_device_that_is_out_of_use_goes_no_further(world: World) -> None:
    world.caller.principal = BEN
    now = (await world.get("/Device/on-trial")).json()
    assert (await world.put("/Device/on-trial", {**now, "status": "inactive"})).status_code == 200
    asked = {"to": "candidate", "reason": "Larger share", "share": 20}
    answer = await call(world, ADA, "on-trial/$model-propose", **asked)
    assert answer.status_code == 422
    assert "only be retired" in text_of(answer)
    assert (await call(world, ADA, "on-trial/$model-retire", reason="x")).status_code == 200


async def test_a_retired_version_that_was_recalled_does_not_come_back(world: World) -> None:
    asked = {"reason": "Another way to do it"}
    assert (await call(world, ADA, "on-trial/$model-retire", **asked)).status_code == 200
    recalled = await call(world, ADA, "on-trial/$recall", reason="Built from mislabelled cells")
    assert recalled.status_code == 200, recalled.text
    back = {"to": "shadow", "reason": "Try again"}
    answer = await call(world, ADA, "on-trial/$model-propose", **back)
    assert answer.status_code == 422
    assert "was recalled: it can only be retired" in text_of(answer)


async def test_shadow_results_are_for_governance_alone(world: World) -> None:
    world.caller.principal = None
    hidden = {
        "resourceType": "Basic",
        "id": "said",
        "meta": {"security": [SHADOW_RESULT]},
        "code": {"coding": [SHADOW_RESULT]},
    }
    assert (await world.put("/Basic/said", hidden)).status_code == 201
    opening = f"user/*.cruds user/Basic.rs?_security={SHADOW}"
    seen = {
        "plain": person("gwen"),
        "opened": person("gwen", scopes=opening),
        "doctor": person("dora", "doctor"),
        "doctor, opened": person("dora", "doctor", scopes=opening),
        "secret": person("dora", "doctor", scopes="user/*.cruds user/*.rs?_security=R,V"),
        "service": person("sam", "service", scopes="system/*.cruds"),
    }
    found = {}
    for name, who in seen.items():
        world.caller.principal = who
        read = (await world.get("/Basic/said")).status_code
        total = (await world.get("/Basic?_summary=count")).json()["total"]
        found[name] = (read, total)
    assert found == {name: (200, 1) if name == "opened" else (404, 0) for name in seen}


async def test_what_a_shadow_said_is_not_found_by_any_way_of_care(world: World) -> None:
    """Not as a contained Observation, not in the chart, not in an emergency."""
    world.caller.principal = None
    await world.put("/Patient/x", {"resourceType": "Patient", "id": "x"})
    said = {
        "resourceType": "Observation",
        "id": "said",
        "status": "preliminary",
        "code": {"text": "secret"},
        "subject": {"reference": "Patient/x"},
    }
    hidden = {
        "resourceType": "Basic",
        "id": "said",
        "meta": {"security": [SHADOW_RESULT]},
        "contained": [said],
        "extension": [{"url": "http://x.test/said", "valueReference": {"reference": "#said"}}],
        "code": {"coding": [SHADOW_RESULT]},
        "subject": {"reference": "Patient/x"},
    }
    assert (await world.put("/Basic/said", hidden)).status_code == 201
    now = world.clock.now.timestamp()
    emergency = Emergency(
        "e", "dora", "x", "default", "emergency", "Unconscious patient", now - 9, now + 3600
    )
    await world.store.transaction(lambda unit: begin(unit, emergency))
    world.caller.principal = person("dora", "doctor")
    for url in (
        "/Patient/x/$everything",
        "/Observation?_contained=true",
        "/Observation?_contained=both&_containedType=contained",
        f"/Basic?_security={SHADOW}",
        "/Basic?code=shadow",
        "/Patient?_id=x&_revinclude=Basic:subject",
        "/Basic/_history",
        "/_history",
    ):
        answer = await world.get(url)
        assert "secret" not in answer.text, url
        assert "Basic/said" not in answer.text, url
    assert (await world.get("/Basic/said/_history/1")).status_code == 404


async def decision_on_new(world: World) -> Json:
    await propose_new(world)
    world.caller.principal = ADA
    query = f"/Provenance?target=Device/new&_tag={DECISION['system']}|{DECISION['code']}"
    (entry,) = (await world.get(query)).json()["entry"]
    return entry["resource"]


async def test_a_decision_is_found_by_its_mark_which_nobody_else_may_write(world: World) -> None:
    decision = await decision_on_new(world)
    assert is_decision(decision)

    forged = {name: value for name, value in decision.items() if name != "id"}
    for who in (None, ADA, BEN, person("dora", "doctor"), person("w", "service"), MEASURING):
        world.caller.principal = who
        refused = await world.post("/Provenance", forged)
        assert refused.status_code == 403, refused.text
        put = await world.put("/Provenance/forged", {**forged, "id": "forged"})
        assert put.status_code in {403, 404}, put.text
    world.caller.principal = person("dora", "doctor")
    plain = {name: value for name, value in forged.items() if name != "meta"}
    id = await world.create(plain)
    marked = await world.put(f"/Provenance/{id}", {**plain, "id": id, "meta": forged["meta"]})
    assert marked.status_code == 403, marked.text


async def test_a_stored_decision_is_changed_by_nobody(world: World) -> None:
    decision = await decision_on_new(world)
    path = f"/Provenance/{decision['id']}"
    for who in (None, person("w", "service"), person("dora", "doctor")):
        world.caller.principal = who
        changed = {**decision, "agent": [{"who": {"reference": "Practitioner/eve"}}]}
        for said in (changed, {**changed, "meta": {"versionId": "1"}}):
            refused = await world.put(path, said)
            assert refused.status_code == 422, refused.text
            assert "nobody changes it" in text_of(refused)
        gone = await world.delete(path)
        assert gone.status_code == 422, gone.text
    assert (await world.get(path)).json()["agent"] == decision["agent"]
