"""Consent that is withdrawn reaches the analysis at once: before, while and after it works."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.registrations import MONITOR, WORKER
from fhir_server.app import ITSELF
from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.assessment import FINDINGS, REPORT_OF_TASK
from fhir_server.fhir.withdrawn import NOT_PERMITTED, is_withdrawn
from fhir_server.rights.withdrawal import Withdrawals
from fhir_server.search.plan import Scope
from fhir_server.security.actors import ANALYSING
from fhir_server.security.analysis import ANALYST
from fhir_server.security.restrictions import Restriction, lift, restrict
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import Transaction
from fhir_server.system import new_id
from models.malaria.reading import SmearAnswer
from models.monitoring.cases import read_cases
from models.wording import NO_OPINION
from models.worker_device import SCOPES
from tests.consent_world import client, consent, deny, exceptions, of_type
from tests.fhir_world import BASE, START, World, extract, fhir_world, registry, text_of
from tests.security.test_guard_http import principal
from tests.smear_predictions import ScriptedSmearModel, field_of
from tests.spec.test_worker_on_server import INTAKE, _worker, all_of, fhir, submit, worker

DOCTOR = principal("user/*.cruds", patient=None)
READ = field_of(600, 40, SmearAnswer.SUSPECTED)
Json = dict[str, Any]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        yield opened


def withdrawals(world: World) -> Withdrawals:
    clock = world.clock
    trail = AuditTrail(ITSELF, clock, new_id, BASE)
    rulebook = Rulebook(world.store, clock)

    def scope() -> Scope:
        return Scope(registry(), clock(), BASE)

    return Withdrawals(world.store, extract(), scope, clock, trail, rulebook)


async def withdraw(world: World, of: str, status: str = "active") -> None:
    """The patient denies the analysis alone; their doctor goes on."""
    caller, world.caller.principal = world.caller.principal, None
    provision = exceptions(deny(**client(WORKER)))
    made = consent(of.partition("/")[2], provision=provision, status=status) | {"id": "c"}
    assert (await world.put("/Consent/c", made)).is_success
    world.caller.principal = caller


async def asked(world: World) -> tuple[str, str]:
    """An analysis that was asked for: the Task and the patient."""
    reference = await submit(world, images=1, **INTAKE)
    task = await fhir(world).read(reference)
    return reference, task["for"]["reference"]


async def as_doctor(world: World, reference: str) -> Json:
    caller, world.caller.principal = world.caller.principal, DOCTOR
    answer = await world.get(f"/{reference}")
    assert answer.status_code == 200, answer.text
    world.caller.principal = caller
    found: Json = answer.json()
    return found


async def work(world: World, model: ScriptedSmearModel) -> int:
    world.caller.principal = _worker()
    done = await worker(world, model, retry_delays_seconds=()).run_once()
    world.caller.principal = None
    return done


def require_told(task: Json) -> None:
    assert (task["status"], task["statusReason"]["text"]) == ("cancelled", NOT_PERMITTED)
    issue = task["contained"][0]["issue"][0]
    assert (issue["code"], issue["diagnostics"]) == ("suppressed", NOT_PERMITTED)


def test_the_client_that_analyses_is_the_one_that_is_registered() -> None:
    assert ANALYST.client_id == WORKER
    assert {WORKER, MONITOR} == ANALYSING


async def test_withdrawn_before_it_begins_nothing_is_read_and_the_task_says_why(
    world: World,
) -> None:
    reference, patient = await asked(world)
    await withdraw(world, patient)
    model = ScriptedSmearModel(READ)
    assert await work(world, model) == 0
    assert model.seen == []
    assert await withdrawals(world).look() == 1
    require_told(await as_doctor(world, reference))
    assert await withdrawals(world).look() == 0


class Withdrawing(ScriptedSmearModel):
    """Consent is withdrawn while it reads."""

    def __init__(self, world: World, patient: str) -> None:
        super().__init__(READ)
        self._world, self._patient = world, patient

    async def predict(self, images: Any, /) -> Any:
        await withdraw(self._world, self._patient)
        return await super().predict(images)


async def test_withdrawn_while_it_reads_nothing_is_stored(world: World) -> None:
    reference, patient = await asked(world)
    await work(world, Withdrawing(world, patient))
    assert await all_of(world, "DiagnosticReport") == []
    assert await all_of(world, "Observation", code="malaria-smear-ai") == []
    assert (await as_doctor(world, reference))["status"] == "in-progress"
    assert await withdrawals(world).look() == 1
    require_told(await as_doctor(world, reference))


async def test_withdrawn_before_it_is_signed_the_draft_is_marked_until_permitted_again(
    world: World,
) -> None:
    _, patient = await asked(world)
    await work(world, ScriptedSmearModel(READ))
    (draft,) = await all_of(world, "DiagnosticReport")
    reference = f"DiagnosticReport/{draft['id']}"
    looking = withdrawals(world)
    assert await looking.look() == 0
    await withdraw(world, patient)
    assert await looking.look() == 1
    assert await looking.look() == 0
    marked = await as_doctor(world, reference)
    assert is_withdrawn(marked)
    assert {**marked, "meta": None} == {**draft, "meta": None}
    signed = {**draft, "status": "final"}
    answer = await world.put(f"/{reference}", signed, **{"If-Match": 'W/"1"'})
    assert answer.status_code == 412
    for version, words in (
        ({**marked, "status": "final"}, "can't be signed: the patient does not permit"),
        (draft, "the mark stays"),
    ):
        refused = await world.put(f"/{reference}", version)
        assert refused.status_code == 422
        assert words in text_of(refused)
    assert (await world.put(f"/{reference}", {**marked, "status": "cancelled"})).is_success
    assert (await world.put(f"/{reference}", marked)).is_success
    await withdraw(world, patient, "inactive")
    assert await looking.look() == 1
    assert not is_withdrawn(await as_doctor(world, reference))


async def test_a_draft_that_was_being_stored_as_consent_was_withdrawn_is_marked(
    world: World,
) -> None:
    _, patient = await asked(world)
    looking = withdrawals(world)
    await withdraw(world, patient)
    await looking.look()
    # Its transaction was judged by the rules before, and commits after they were looked at.
    draft = {
        "resourceType": "DiagnosticReport",
        "id": "late",
        "status": "preliminary",
        "code": {"coding": [{"system": FINDINGS, "code": "malaria-assessment-ai"}]},
        "subject": {"reference": patient},
    }
    assert (await world.put("/DiagnosticReport/late", draft)).is_success
    assert await looking.look() == 1
    assert is_withdrawn(await as_doctor(world, "DiagnosticReport/late"))
    assert await looking.look() == 0


async def test_the_draft_of_another_model_is_marked_too(world: World) -> None:
    _, patient = await asked(world)
    draft = {
        "resourceType": "DiagnosticReport",
        "id": "chest",
        "status": "preliminary",
        "identifier": [{"system": REPORT_OF_TASK, "value": "7"}],
        "code": {"text": "Chest image by AI, demonstration only"},
        "subject": {"reference": patient},
    }
    by_hand = {**draft, "id": "hand", "identifier": [{"system": "urn:lab", "value": "7"}]}
    for each in (draft, by_hand):
        assert (await world.put(f"/DiagnosticReport/{each['id']}", each)).is_success
    looking = withdrawals(world)
    assert await looking.look() == 0
    await withdraw(world, patient)
    assert await looking.look() == 2, "the draft, and the Task that waits"
    assert is_withdrawn(await as_doctor(world, "DiagnosticReport/chest"))
    assert not is_withdrawn(await as_doctor(world, "DiagnosticReport/hand"))


async def test_what_may_be_read_and_not_written_ends_with_the_reason(world: World) -> None:
    reference, patient = await asked(world)
    code = {"coding": [{"system": FINDINGS, "code": "malaria-smear-ai"}]}
    rule = exceptions(deny(**client(WORKER), **of_type("Observation"), code=[code]))
    made = consent(patient.partition("/")[2], provision=rule) | {"id": "c"}
    assert (await world.put("/Consent/c", made)).is_success
    assert await withdrawals(world).look() == 0
    await work(world, ScriptedSmearModel(READ))
    task = await as_doctor(world, reference)
    assert (task["status"], task["statusReason"]["text"]) == ("failed", NOT_PERMITTED)
    assert await all_of(world, "DiagnosticReport") == []


async def test_who_refuses_is_asked_of_no_more_and_in_no_figures(world: World) -> None:
    reference, patient = await asked(world)
    await work(world, ScriptedSmearModel(READ))
    await withdraw(world, patient)
    task = await as_doctor(world, reference)
    again = {name: each for name, each in task.items() if name not in ("id", "meta", "output")}
    world.caller.principal = DOCTOR
    answer = await world.post("/Task", {**again, "status": "requested"})
    assert answer.status_code == 422
    assert NOT_PERMITTED in text_of(answer)
    assert answer.json()["issue"][0]["code"] == "suppressed"
    request = {"method": "POST", "url": "Task"}
    entry = {"resource": {**again, "status": "requested"}, "request": request}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await world.post("", bundle)).status_code == 422
    world.caller.principal = principal(
        "system/*.rs",
        subject=MONITOR,
        client_id=MONITOR,
        roles=frozenset(),
        fhir_user=None,
        patient=None,
    )
    year = START.replace(year=2025), START.replace(year=2027)
    assert await read_cases(fhir(world), *year) == []
    await withdraw(world, patient, "inactive")
    assert len(await read_cases(fhir(world), *year)) == 1


async def test_who_may_not_see_the_patient_is_told_nothing_of_a_consent(world: World) -> None:
    _, patient = await asked(world)
    id = patient.partition("/")[2]
    await world.put("/Consent/c", consent(id, base="OPTOUT") | {"id": "c"})
    code = {
        "coding": [
            {
                "system": "https://medsage.example/fhir/CodeSystem/task-code",
                "code": "malaria-assessment",
            }
        ]
    }
    made = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": code,
        "for": {"reference": patient},
    }
    world.caller.principal = DOCTOR
    refused = await world.post("/Task", made)
    assert NOT_PERMITTED not in refused.text
    assert refused.status_code == 403


async def test_a_restriction_does_the_same_and_is_noticed_by_itself(world: World) -> None:
    reference, patient = await asked(world)
    made = Restriction(
        patient.partition("/")[2], "unlawful", "2026-11-24T08:00:00Z", ("user dr.amina",)
    )
    looking = asyncio.create_task(withdrawals(world).run())
    await world.store.transaction(lambda unit: restrict(unit, made))
    async with asyncio.timeout(30):
        while (await as_doctor(world, reference))["status"] != "cancelled":
            await asyncio.sleep(0.05)
    looking.cancel()
    require_told(await as_doctor(world, reference))

    async def unit(transaction: Transaction) -> bool:
        return await lift(transaction, made.patient)

    assert await world.store.transaction(unit)


@pytest.mark.parametrize(
    ("left", "lacking"), [("r", "create Observation"), ("cu", "read Observation")]
)
async def test_who_lacks_the_rights_is_not_told_of_a_consent(
    world: World, left: str, lacking: str
) -> None:
    reference, _ = await asked(world)
    scopes = SCOPES.replace("Observation.cru", f"Observation.{left}")
    world.caller.principal = replace(_worker(), scopes=scopes)
    few = {"retry_delays_seconds": (), "most_attempts": 2, "lease": timedelta(0)}
    await worker(world, ScriptedSmearModel(READ), **few).run_once()
    # The rights may be given back: the Task waits for another attempt.
    assert (await as_doctor(world, reference))["status"] == "in-progress"
    await worker(world, ScriptedSmearModel(READ), **few).run_once()
    task = await as_doctor(world, reference)
    assert task["status"] == "failed"
    issue = task["contained"][0]["issue"][0]
    assert issue["code"] == "forbidden"
    assert f"No permission to {lacking}" in issue["diagnostics"]
    assert NO_OPINION in task["statusReason"]["text"]
    assert "consent" not in issue["diagnostics"]


async def test_who_may_see_the_patient_is_told_why_a_write_is_refused(world: World) -> None:
    _, patient = await asked(world)
    denied = {"coding": [{"system": FINDINGS, "code": "malaria-smear-ai"}]}
    rule = exceptions(deny(**client(DOCTOR.client_id), **of_type("Observation"), code=[denied]))
    made = consent(patient.partition("/")[2], provision=rule) | {"id": "c"}
    assert (await world.put("/Consent/c", made)).is_success
    world.caller.principal = DOCTOR
    finding = {"resourceType": "Observation", "status": "final", "subject": {"reference": patient}}
    answer = await world.post("/Observation", finding | {"code": denied})
    assert answer.status_code == 403
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "suppressed"
    assert "consent" in issue["diagnostics"]
    world.caller.principal = replace(DOCTOR, scopes="user/Observation.c")
    unseeing = await world.post("/Observation", finding | {"code": denied})
    assert (unseeing.status_code, unseeing.json()["issue"][0]["code"]) == (403, "forbidden")
