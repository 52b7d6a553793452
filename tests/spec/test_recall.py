"""A recall carried out on the real server: reports marked, signers told, and no more answers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.recalling import Order, answered
from fhir_server.fhir.assessment import TASK_CODES, Image, Intake, Parties, submission
from fhir_server.fhir.codec import instant
from fhir_server.fhir.model_versions import SHADOW_RESULT
from fhir_server.fhir.recalls import OPERATORS, RECALL_TAGS, is_recalled, recalls_of
from fhir_server.search.plan import Scope
from fhir_server.security.principal import Principal, own_principal
from fhir_server.subscriptions.criteria import watch_of
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.malaria.reading import SmearAnswer
from models.recall import Recaller
from models.symptoms.red_flags import SafeAnalyst
from models.wording import NO_OPINION
from models.worker import Worker
from models.worker_device import SCOPES
from tests.fhir_world import BASE, START, World, extract, fhir_world, registry, text_of
from tests.smear_predictions import ScriptedSmearModel, field_of

Resource = dict[str, Any]
REASON = "Weights were built from mislabelled cells"
SIGNER = "Practitioner/amina"
ASKING = "Practitioner/kofi"
WORKER = own_principal("medsage-worker", "MedSAGE worker")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        for person in ("amina", "kofi"):
            await opened.put(
                f"/Practitioner/{person}", {"resourceType": "Practitioner", "id": person}
            )
        yield opened


def fhir(world: World) -> FhirClient:
    return FhirClient(world.http, BASE, CallerToken(None))


async def assess(world: World, *, images: int = 1, symptoms: bool = True) -> str:
    """One finished assessment; the reference of its Task."""
    patient = await world.create({"resourceType": "Patient", "birthDate": "1990-05-01"})
    numbers = iter(range(1, 100))
    bundle = submission(
        Intake(
            START,
            images=[Image(b"\x89PNG", "image/png", "smear")] * images,
            symptoms={"fever": "yes"} if symptoms else {},
        ),
        Parties(f"Patient/{patient}", ASKING),
        lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
    )
    answer = await fhir(world).transaction(bundle)
    location: str = answer["entry"][-1]["response"]["location"]
    model = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
    await Worker(fhir(world), Analysts(model, SafeAnalyst()), clock=world.clock).run_once()
    return "/".join(location.split("/_history")[0].split("/")[-2:])


async def report_of(world: World, task: str) -> Resource:
    done = await fhir(world).read(task)
    return await fhir(world).read(done["output"][0]["valueReference"]["reference"])


async def sign(world: World, report: Resource) -> Resource:
    signed = {**report, "status": "final", "resultsInterpreter": [{"reference": SIGNER}]}
    return await fhir(world).update(signed, report["meta"]["versionId"])


async def smear_device(world: World) -> str:
    found = [d async for d in fhir(world).search("Device", {"device-name": "Malaria cell model"})]
    return f"Device/{found[0]['id']}"


async def recall(world: World, **period: str) -> Resource:
    parts: list[Resource] = [{"name": "reason", "valueString": REASON}]
    parts += [{"name": name.rstrip("_"), "valueInstant": at} for name, at in period.items()]
    device = await smear_device(world)
    response = await world.post(
        f"/{device}/$recall", {"resourceType": "Parameters", "parameter": parts}
    )
    assert response.status_code == 200, response.text
    return await fhir(world).read(device)


def recaller(world: World, **changes: Any) -> Recaller:
    return Recaller(fhir(world), clock=world.clock, **changes)


async def also_made(world: World, resource: Resource) -> None:
    """Something else that the version made: a drawing, or what it said in the shadow."""
    target = f"{resource['resourceType']}/{await world.create(resource)}"
    agent = {"who": {"reference": await smear_device(world)}}
    trace = {"resourceType": "Provenance", "target": [{"reference": target}], "agent": [agent]}
    await world.create({**trace, "recorded": instant(world.clock())})


async def all_of(world: World, type_: str, **criteria: str) -> list[Resource]:
    return [found async for found in fhir(world).search(type_, criteria)]


async def tasks_of(world: World, **criteria: str) -> list[Resource]:
    return await all_of(world, "Task", code=f"{TASK_CODES}|recalled-result-review", **criteria)


async def test_every_report_is_marked_and_its_signer_is_asked_to_look_again(world: World) -> None:
    draft = await report_of(world, await assess(world))
    signed = await sign(world, await report_of(world, await assess(world)))
    untouched = await report_of(world, await assess(world, images=0))
    await recall(world)

    assert await recaller(world).run_once() == 2

    found = await fhir(world).read(f"DiagnosticReport/{signed['id']}")
    assert is_recalled(found)
    content = {name: value for name, value in found.items() if name != "meta"}
    assert content == {name: value for name, value in signed.items() if name != "meta"}
    assert not is_recalled(await fhir(world).read(f"DiagnosticReport/{untouched['id']}"))
    marked = await fhir(world).read(f"DiagnosticReport/{draft['id']}")
    refused = await world.put(f"/DiagnosticReport/{draft['id']}", {**marked, "status": "final"})
    assert (refused.status_code, "was recalled" in text_of(refused)) == (422, True)
    (issue,) = await all_of(world, "DetectedIssue", implicated=f"DiagnosticReport/{signed['id']}")
    assert (issue["detail"], issue["severity"]) == (REASON, "high")
    (task,) = await tasks_of(world, owner=SIGNER)
    assert task["focus"]["reference"] == f"DiagnosticReport/{signed['id']}"
    assert task["reasonCode"]["text"] == REASON
    (other,) = await tasks_of(world, owner=ASKING)
    assert other["focus"]["reference"] == f"DiagnosticReport/{draft['id']}"
    trail = await all_of(world, "Provenance", target=f"DiagnosticReport/{signed['id']}")
    assert REASON in str(trail)
    results = await all_of(world, "Observation", _tag=f"{RECALL_TAGS}|recalled")
    assert len(results) == 2  # what the recalled version wrote, and not what the rules did


async def test_the_command_asks_and_is_told(world: World) -> None:
    await sign(world, await report_of(world, await assess(world)))
    await assess(world)
    device = await smear_device(world)
    order = Order(device, REASON, start="2026-11-01T00:00:00Z", is_dry_run=True)

    counted = answered(await fhir(world).call(f"{device}/$recall", order.parameters()))
    begun = answered(
        await fhir(world).call(f"{device}/$recall", Order(device, REASON).parameters())
    )

    assert (counted["status"], counted["reports"], counted["signed"]) == ("dry-run", 2, 1)
    assert (begun["status"], begun["device"]) == ("open", device)


async def test_the_marks_say_who_ordered_the_recall(world: World) -> None:
    report = await report_of(world, await assess(world))
    device = await smear_device(world)
    ordering: dict[Principal, Resource] = {
        replace(WORKER, scopes=SCOPES): {
            "identifier": {"system": OPERATORS, "value": "amina"},
            "display": "operator amina",
        },
        replace(WORKER, subject="ada", client_id="app", fhir_user=SIGNER,
                roles=frozenset({"governance"}), scopes="user/Device.rus"): {"reference": SIGNER},
    }  # fmt: skip
    for number, who in enumerate(ordering):
        world.caller.principal = who
        operator = "amina" if who.acts_for_itself else None
        order = Order(device, f"{REASON} {number}", operator=operator)
        await fhir(world).call(f"{device}/$recall", order.parameters())
    world.caller.principal = None
    await recaller(world).run_once()

    trail = await all_of(world, "Provenance", target=f"DiagnosticReport/{report['id']}")
    marks = [each for each in trail if REASON in str(each["reason"])]
    authors = [
        [a["who"] for a in each["agent"] if a["type"]["coding"][0]["code"] == "author"]
        for each in marks
    ]
    assert [who for (who,) in authors] == list(ordering.values())


async def test_done_again_it_does_nothing_new(world: World) -> None:
    for _ in range(3):
        await assess(world)
    await recall(world)
    assert await recaller(world).run_once() == 3

    again = await recaller(world).run_once()

    assert again == 0
    assert await world.count("DetectedIssue") == 3
    assert len(await tasks_of(world)) == 3


async def test_two_workers_at_once_mark_each_report_once(world: World) -> None:
    for _ in range(6):
        await assess(world)
    await recall(world)

    await asyncio.gather(*(recaller(world, batch=2).run_once() for _ in range(2)))

    assert await world.count("DetectedIssue") == 6
    assert len(await tasks_of(world)) == 6
    (found,) = recalls_of(await fhir(world).read(await smear_device(world)))
    assert (found.reports, found.tasks) == (6, 6)


async def test_a_crash_resumes_where_the_last_batch_ended(world: World) -> None:
    for _ in range(5):
        await assess(world)
    await recall(world)
    sent: list[int] = []

    class Stopped(Exception):
        pass

    async def stop(request: httpx.Request) -> None:
        is_batch = request.method == "POST" and request.url.path == "/fhir"
        if is_batch and b"DetectedIssue" in request.content:
            sent.append(1)
            if len(sent) == 2:
                raise Stopped

    world.http.event_hooks["request"] = [stop]
    with pytest.raises(Stopped):
        await recaller(world, batch=2).run_once()
    world.http.event_hooks["request"] = []
    assert len(await tasks_of(world)) == 2

    assert await recaller(world, batch=2).run_once() == 3
    (found,) = recalls_of(await fhir(world).read(await smear_device(world)))
    assert (found.reports, found.tasks, found.status) == (5, 5, "open")

    world.clock.now += timedelta(seconds=91)
    await recaller(world).run_once()
    (found,) = recalls_of(await fhir(world).read(await smear_device(world)))
    assert (found.reports, found.status) == (5, "done")
    assert await all_of(world, "Device", _tag=f"{RECALL_TAGS}|open") == []


async def test_a_period_bounds_what_is_recalled(world: World) -> None:
    first = await report_of(world, await assess(world))
    world.clock.now += timedelta(days=1)
    await assess(world)
    await recall(world, to=(START + timedelta(hours=1)).isoformat().replace("+00:00", "Z"))

    assert await recaller(world).run_once() == 1
    assert is_recalled(await fhir(world).read(f"DiagnosticReport/{first['id']}"))


async def test_a_recalled_version_answers_no_more(world: World) -> None:
    await assess(world)
    await recall(world)

    with_symptoms = await report_of(world, await assess(world))
    alone = await fhir(world).read(await assess(world, symptoms=False))

    assert "Malaria cell model 1.2.3 was recalled." in with_symptoms["conclusion"]
    assert NO_OPINION in with_symptoms["conclusion"]
    assert len(with_symptoms["result"]) == 1
    assert alone["status"] == "failed"
    assert NO_OPINION in alone["statusReason"]["text"]


async def test_the_workers_scopes_are_enough_for_a_recall(world: World) -> None:
    await sign(world, await report_of(world, await assess(world)))
    await also_made(
        world, {"resourceType": "Binary", "contentType": "image/png", "data": "iVBORw=="}
    )
    hidden = {"meta": {"security": [SHADOW_RESULT]}, "code": {"text": "Said in the shadow"}}
    await also_made(world, {"resourceType": "Basic", **hidden})
    await recall(world)
    world.caller.principal = Principal(
        subject="medsage-worker", client_id="medsage-worker", name="Worker", roles=frozenset(),
        fhir_user=None, scopes=SCOPES, patient=None, encounter=None, session=None,
    )  # fmt: skip
    assert await recaller(world).run_once() == 1


async def test_a_subscription_of_the_signers_hears_of_their_tasks_alone(world: World) -> None:
    await sign(world, await report_of(world, await assess(world)))
    await assess(world)
    await recall(world)
    await recaller(world).run_once()
    criteria = f"Task?code={TASK_CODES}|recalled-result-review&status=requested&owner={SIGNER}"
    watch = watch_of(
        {
            "id": "s",
            "criteria": criteria,
            "channel": {"type": "rest-hook", "endpoint": "https://ehr.example/told"},
        },
        lambda: Scope(registry(), world.clock(), BASE),
    )
    heard = [task for task in await all_of(world, "Task") if watch.matches(extract()(task))]
    assert [task["owner"]["reference"] for task in heard] == [SIGNER]
