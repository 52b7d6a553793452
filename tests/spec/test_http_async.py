"""Prefer: respond-async (R4 Asynchronous Request Patterns): stored, then acknowledged, then
answered."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.interactions.context import FhirResponse
from fhir_server.rest.job_runner import ATTEMPTS, LEASE_SECONDS
from fhir_server.rest.jobs import JOB, OPEN, PIECE, WORK, Job, JobLimits
from fhir_server.rights.waiting import take_away
from fhir_server.storage.port import Key, Record
from tests import bundles
from tests.fhir_world import BASE, PATIENT, Json, World, fhir_world, issues, observation, text_of
from tests.operation_world import caller, measured, named, post, store_all, transaction, world
from tests.stores import Place, place

__all__ = ["place", "world"]

LATER = {"Prefer": "respond-async"}


async def accepted(response: httpx.Response) -> str:
    """The path of the status of a request that was accepted."""
    assert response.status_code == 202, response.text
    assert response.headers["preference-applied"] == "respond-async"
    location = response.headers["content-location"]
    assert location.startswith(f"{BASE}/_async/")
    return location.removeprefix(BASE)


async def result(world: World, status: str) -> Json:
    """The one entry of the result, once the job was run."""
    await world.runner.run_once()
    response = await world.get(status)
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert bundle["type"] == "batch-response"
    (entry,) = bundle["entry"]
    found: Json = entry
    return found


@pytest.fixture
async def ward(world: World) -> World:
    await store_all(world, named("Patient", "a"), measured("o", "a"), measured("p", "a"))
    return world


async def test_a_request_is_accepted_and_its_progress_told_until_it_is_done(ward: World) -> None:
    status = await accepted(await ward.get("/Observation", **LATER))
    waiting = await ward.get(status)
    assert waiting.status_code == 202
    assert waiting.headers["x-progress"].startswith("waiting")
    assert int(waiting.headers["retry-after"]) > 0
    await result(ward, status)
    assert (await ward.get(status)).status_code == 200, "as often as it is asked for"


@pytest.mark.parametrize(
    "url",
    [
        *("/Observation?_sort=_id", "/Patient/a/Observation", "/?_type=Patient"),
        *("/_history", "/Observation/_history", "/Patient/a/_history", "/Patient/a/$everything"),
    ],
)
async def test_the_result_is_the_answer_that_is_given_at_once(ward: World, url: str) -> None:
    direct = await ward.get(url)
    entry = await result(ward, await accepted(await ward.get(url, **LATER)))
    assert entry["response"]["status"] == "200 OK"
    assert _steady(entry["resource"]) == _steady(direct.json())


def _steady(bundle: Json) -> Json:
    """Without what differs between two equal answers."""
    links = [each for each in bundle.get("link", []) if each["relation"] != "next"]
    return {name: bundle[name] for name in bundle if name not in ("id", "meta")} | {"link": links}


async def test_a_search_by_post_a_batch_and_a_transaction_are_answered_later(ward: World) -> None:
    found = await ward.http.post("/Patient/_search", data={"_id": "a"}, headers=LATER)
    assert (await result(ward, await accepted(found)))["resource"]["total"] == 1
    for body in (
        transaction(post(PATIENT)),
        bundles.batch(bundles.entry("POST", "Patient", PATIENT)),
    ):
        entry = await result(ward, await accepted(await ward.post("", body, **LATER)))
        assert entry["resource"]["type"] == f"{body['type']}-response"
        assert entry["resource"]["entry"][0]["response"]["status"] == "201 Created"
    assert await ward.count("Patient") == 3


async def test_what_is_refused_has_its_outcome_and_status_in_the_result(ward: World) -> None:
    status = await accepted(await ward.get("/Observation?nothing=1", **LATER))
    entry = await result(ward, status)
    assert entry["response"]["status"] == "400 Bad Request"
    assert "nothing" in entry["response"]["outcome"]["issue"][0]["diagnostics"]
    assert "resource" not in entry


@pytest.mark.parametrize("method", ["read", "create", "head"])
async def test_other_interactions_are_answered_at_once(ward: World, method: str) -> None:
    if method == "read":
        response = await ward.get("/Patient/a", **LATER)
    elif method == "create":
        response = await ward.post("/Patient", PATIENT, **LATER)
    else:
        response = await ward.http.head("/Patient", headers=LATER)
    assert response.status_code in (200, 201)
    assert "preference-applied" not in response.headers


async def test_a_job_is_its_callers_own(ward: World) -> None:
    owner = caller("user/*.cruds")
    ward.caller.principal = owner
    status = await accepted(await ward.get("/Observation", **LATER))
    await ward.runner.run_once()
    for other in (replace(owner, subject="other"), replace(owner, scopes="user/Patient.rs"), None):
        ward.caller.principal = other
        assert (await ward.get(status)).status_code == 404
        assert (await ward.delete(status)).status_code == 404
    ward.caller.principal = replace(owner, expires=1.0, session="another")
    assert (await ward.get(status)).status_code == 200


async def test_it_runs_with_the_rights_of_its_caller(ward: World) -> None:
    await store_all(ward, named("Patient", "b"), measured("q", "b"))
    ward.caller.principal = caller("patient/*.rs", patient="a")
    status = await accepted(await ward.get("/Observation", **LATER))
    assert (await result(ward, status))["resource"]["total"] == 2
    assert (await ward.get("/Device", **LATER)).status_code == 202
    ward.caller.principal = caller("user/Patient.rs")
    assert (await ward.get("/Observation", **LATER)).status_code == 403


@pytest.mark.parametrize("how", ["expired", "revoked"])
async def test_a_token_that_ended_before_its_job_began_ends_the_job(ward: World, how: str) -> None:
    owner = caller("user/*.rs")
    ended = {"expired": {"expires": ward.clock.now.timestamp()}, "revoked": {"grant": "none"}}[how]
    ward.caller.principal = replace(owner, **ended)  # type: ignore[arg-type]
    status = await accepted(await ward.get("/Observation", **LATER))
    assert (await result(ward, status))["response"]["status"] == "401 Unauthorized"


async def test_a_job_that_is_cancelled_is_gone_and_does_nothing(ward: World) -> None:
    status = await accepted(await ward.post("", transaction(post(PATIENT)), **LATER))
    assert (await ward.delete(status)).status_code == 202
    assert (await ward.get(status)).status_code == 404
    assert await ward.runner.run_once() == 0
    assert await ward.count("Patient") == 1
    done = await accepted(await ward.get("/Patient", **LATER))
    await ward.runner.run_once()
    assert (await ward.delete(done)).status_code == 202
    assert (await ward.get(done)).status_code == 404
    for kind in (JOB, PIECE, WORK, OPEN):
        assert not await ward.store.records(kind)


async def test_an_acknowledged_job_survives_the_server(place: Place, tmp_path: Path) -> None:
    async with fhir_world(tmp_path, store=await place.store()) as first:
        status = await accepted(await first.post("", transaction(post(PATIENT)), **LATER))
    async with fhir_world(tmp_path, store=await place.store()) as second:
        assert (await second.get(status)).status_code == 202
        assert (await result(second, status))["response"]["status"] == "200 OK"
        assert await second.count("Patient") == 1


@pytest.mark.parametrize("is_batch", [True, False])
async def test_a_job_whose_server_died_after_its_commit_writes_nothing_twice(
    place: Place, tmp_path: Path, is_batch: bool
) -> None:
    entry = bundles.entry("POST", "Patient", PATIENT)
    body = bundles.batch(entry) if is_batch else transaction(entry)
    async with fhir_world(tmp_path, store=await place.store()) as world:
        status = await accepted(await world.post("", body, **LATER))
        finish = world.runner._jobs.close

        async def dies(*_: Any) -> None:
            raise RuntimeError("the process ends")

        world.runner._jobs.close = dies  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            await world.runner.run_once()
        world.runner._jobs.close = finish  # type: ignore[method-assign]
        assert await world.count("Patient") == 1
        assert (await world.get(status)).headers["x-progress"].startswith("running")
        assert await world.runner.run_once() == 0, "somebody still has it"
        world.clock.now += timedelta(seconds=LEASE_SECONDS)
        entry = await result(world, status)
        assert entry["resource"]["entry"][0]["response"]["status"] == "201 Created"
        assert await world.count("Patient") == 1


async def test_of_several_runners_one_runs_a_job(ward: World) -> None:
    status = await accepted(await ward.post("", transaction(post(PATIENT)), **LATER))
    await asyncio.gather(*(ward.runner.run_once() for _ in range(5)))
    assert (await ward.get(status)).status_code == 200
    assert await ward.count("Patient") == 2


async def test_a_long_job_holds_up_no_other_and_is_handed_on_when_its_server_stops(
    ward: World,
) -> None:
    long = await accepted(await ward.get("/Patient?_id=a", **LATER))
    perform = ward.runner._perform

    async def slow(job: Job) -> FhirResponse:
        if job.id in long:
            await asyncio.Event().wait()
        return await perform(job)

    ward.runner._perform = slow
    running = asyncio.create_task(ward.runner.run())
    for _ in range(3):
        quick = await accepted(await ward.get("/Observation", **LATER))
        async with asyncio.timeout(20):
            while (await ward.get(quick)).status_code == 202:
                await asyncio.sleep(0.01)
    assert (await ward.get(long)).headers["x-progress"].startswith("running")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await ward.get(long)).headers["x-progress"].startswith("waiting")
    ward.runner._perform = perform
    assert (await result(ward, long))["resource"]["total"] == 1


async def test_a_job_that_ends_every_process_is_given_up(ward: World) -> None:
    status = await accepted(await ward.get("/Patient", **LATER))
    id = status.rpartition("/")[2]
    spent = Record(WORK, id, {"until": 0.0, "attempts": ATTEMPTS})
    await ward.store.transaction(lambda unit: unit.put_record(spent))
    assert (await result(ward, status))["response"]["status"].startswith("500")


async def test_too_many_jobs_of_one_caller_are_429(place: Place, tmp_path: Path) -> None:
    limits = JobLimits(jobs=2)
    async with fhir_world(tmp_path, store=await place.store(), job_limits=limits) as world:
        answers = await asyncio.gather(*(world.get("/Patient", **LATER) for _ in range(4)))
        assert sorted(each.status_code for each in answers) == [202, 202, 429, 429]
        refused = next(each for each in answers if each.status_code == 429)
        assert issues(refused)[0]["code"] == "throttled"
        assert "retry-after" in refused.headers
        await world.runner.run_once()
        assert (await world.get("/Patient", **LATER)).status_code == 202


async def test_a_result_beyond_the_limit_is_told_so(place: Place, tmp_path: Path) -> None:
    limits = JobLimits(result_bytes=500)
    async with fhir_world(tmp_path, store=await place.store(), job_limits=limits) as world:
        await store_all(world, named("Patient", "a"), measured("o", "a"), measured("p", "a"))
        for url in ("/Patient/a/$everything", "/Observation"):
            status = await accepted(await world.get(url, **LATER))
            assert (await result(world, status))["response"]["status"].startswith("413")


async def test_a_result_is_kept_for_its_hours(place: Place, tmp_path: Path) -> None:
    limits = JobLimits(hours=2)
    async with fhir_world(tmp_path, store=await place.store(), job_limits=limits) as world:
        status = await accepted(await world.get("/Patient", **LATER))
        await result(world, status)
        place.clock.advance(3600)
        assert (await world.get(status)).status_code == 200
        place.clock.advance(3700)
        assert (await world.get(status)).status_code == 404


async def test_where_no_jobs_are_taken_everything_is_answered_at_once(tmp_path: Path) -> None:
    async with fhir_world(tmp_path, job_limits=JobLimits(jobs=0)) as world:
        response = await world.get("/Patient", **LATER)
        assert response.status_code == 200
        assert "preference-applied" not in response.headers


async def test_text_of_any_kind_and_length_comes_through_whole(
    ward: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.rest.jobs.PIECE_CHARACTERS", 50)
    text = "日本語 🩺 \\ x" * 100
    body = transaction(post(observation(valueString=text)))
    status = await accepted(
        await ward.post("", body, Prefer="respond-async, return=representation")
    )
    entry = await result(ward, status)
    assert entry["resource"]["entry"][0]["resource"]["valueString"] == text


async def test_a_body_that_is_no_text_is_refused_at_once(world: World) -> None:
    response = await world.post("", b'{"resourceType":"Bundle","id":"\xff"}', **LATER)
    assert response.status_code == 400
    assert "UTF-8" in text_of(response)


async def test_a_key_of_the_callers_own_holds_for_jobs_too(ward: World) -> None:
    body = transaction(post(PATIENT))
    for _ in range(2):
        response = await ward.post("", body, Idempotency_Key="k", **LATER)
        await result(ward, await accepted(response))
    assert await ward.count("Patient") == 2, "the one before, and one new"


async def test_acceptance_run_and_status_are_audited(world: World) -> None:
    status = await accepted(await world.get("/Patient", **LATER))
    await result(world, status)
    await world.delete(status)
    found = [(each["interaction"], each["status"]) for each in await world.journal()]
    assert found == [
        *(("search-type", 202), ("search-type", 200)),
        *(("async-status", 200), ("async-cancel", 202)),
    ]


async def test_a_status_is_no_entry_of_a_bundle_and_an_unknown_one_is_404(world: World) -> None:
    assert (await world.get("/_async/none")).status_code == 404
    status = await accepted(await world.get("/Patient", **LATER))
    response = await world.post(
        "", transaction({"request": {"method": "DELETE", "url": status[1:]}})
    )
    assert response.status_code == 400
    assert "asynchronous" in text_of(response)


async def test_an_answer_that_tells_of_what_was_erased_is_taken_away(ward: World) -> None:
    async def asked(url: str) -> str:
        return await accepted(await ward.get(url, **LATER))

    theirs = [await asked(each) for each in ("/Observation?_id=o", "/Patient/a/$everything")]
    anothers = await asked("/Observation?_id=p")
    for each in (*theirs, anothers):
        await result(ward, each)
    assert await take_away(ward.store, [Key("Observation", "o")]) == 2
    assert [(await ward.get(each)).status_code for each in (*theirs, anothers)] == [404, 404, 200]
    records = await ward.store.records(PIECE)
    assert len(records) == 1


async def test_what_is_being_answered_during_an_erasure_begins_again(ward: World) -> None:
    status = await accepted(await ward.get("/Observation?_id=o", **LATER))

    async def perform(job: Job) -> FhirResponse:
        if not erased:
            erased.append(await take_away(ward.store, [Key("Observation", "o")]))
            return FhirResponse(200, b'{"resourceType":"Observation","id":"o"}')
        return FhirResponse(200, b'{"resourceType":"Bundle"}')

    erased: list[int] = []
    ward.runner._perform = perform
    await ward.runner.run_once()
    assert (await ward.get(status)).status_code == 202
    await ward.runner.run_once()
    assert (await ward.get(status)).json()["entry"][0]["resource"] == {"resourceType": "Bundle"}
