"""Which version of a model answers a Task, what runs in its shadow, and what nobody sees of it."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fhir_server.fhir.assessment import AI_ASSERTED
from fhir_server.fhir.model_versions import SHADOW_RESULT, State
from fhir_server.fhir.recalls import Recall, with_recall
from fhir_server.validation.validate import Validator
from models.diagnosis_answer import answer
from models.lifecycle.arms import CANDIDATE, arm, place
from models.lifecycle.installed import Installed
from models.lifecycle.shadows import Budget
from models.malaria.reading import SmearAnswer
from models.wording import NO_OPINION
from models.worker import Worker
from tests.model_versions import analysts, installed, register, restate, scripted
from tests.smear_predictions import ScriptedSmearModel, field_of
from tests.spec.test_worker import FEVER, World

SUSPECTED, NONE = SmearAnswer.SUSPECTED, SmearAnswer.NONE_FOUND


class Versioned(World):
    """A worker with three versions of the malaria model on disk: 1.0.0 is in use."""

    def __init__(self, **pace: Any) -> None:
        super().__init__(**pace)
        self.models = {
            "1.0.0": scripted(field_of(600, 40, SUSPECTED)),
            "1.1.0": scripted(field_of(600, 0, NONE)),
            "2.0.0": scripted(field_of(500, 30, SUSPECTED)),
        }
        self.here = {name: installed(name, model) for name, model in self.models.items()}
        self.devices = {"1.0.0": register(self.fhir, self.here["1.0.0"], State.ACTIVE)}

    def add(self, version: str, state: State, share: int = 0) -> None:
        self.devices[version] = register(self.fhir, self.here[version], state, share)

    async def work(self, budget: Budget | None = None, **here: Installed) -> Worker:
        """What is open is worked off, and then the shadows."""
        versions = {each.key: each for each in (here or self.here).values()}
        asked = analysts(self.fhir, versions, budget)
        worker = self.worker()
        worker.analysts = asked
        await worker.run_once()
        await asked.shadows.work_off()
        return worker

    def asked(self) -> dict[str, int]:
        return {name: len(model.seen) for name, model in self.models.items() if model.seen}

    def shadows(self) -> list[dict[str, Any]]:
        return self.fhir.of_type("Basic")


def recall(world: Versioned, version: str) -> None:
    device = world.fhir.resources[world.devices[version]]
    world.fhir.add(with_recall(device, Recall("r", "Mislabelled", "2026-11-25T08:00:00Z", "ada")))


@pytest.fixture
def world() -> Versioned:
    return Versioned()


async def test_the_active_version_answers(world: Versioned) -> None:
    await world.submit(images=1)
    await world.work()

    (report,) = world.reports()
    assert "Malaria cell model 1.0.0)" in report["conclusion"]
    (observation,) = world.fhir.of_type("Observation")
    assert observation["device"]["reference"] == world.devices["1.0.0"]
    assert world.asked() == {"1.0.0": 1}
    assert world.shadows() == []


async def test_a_shadow_reads_the_same_and_stays_out_of_the_report(world: Versioned) -> None:
    world.add("1.1.0", State.SHADOW)
    reference = await world.submit(images=2, symptoms=FEVER)
    await world.work()

    (report,), (basic,) = world.reports(), world.shadows()
    assert world.models["1.1.0"].seen == world.models["1.0.0"].seen
    shown = str(report) + str(world.fhir.of_type("Observation"))
    assert "model 1.0.0" in shown
    assert "model 1.1.0" not in shown
    assert f"'{world.devices['1.1.0']}'" not in shown
    assert basic["meta"]["security"] == [SHADOW_RESULT, AI_ASSERTED]
    (said,) = basic["contained"]
    assert said["valueCodeableConcept"]["coding"][0]["code"] == "none-found"
    assert said["device"]["reference"] == world.devices["1.1.0"]
    assert basic["extension"][0]["valueReference"]["reference"] == reference
    traces = world.fhir.of_type("Provenance")
    (trace,) = [t for t in traces if f"Basic/{basic['id']}" in str(t["target"])]
    assert trace["agent"][0]["who"]["reference"] == world.devices["1.1.0"]
    assert len([e for e in trace["entity"] if e["role"] == "source"]) == 2
    validator = Validator()
    assert [issue for r in world.fhir.resources.values() for issue in validator.issues(r)] == []


async def test_a_repeated_shadow_is_stored_once(world: Versioned) -> None:
    world.add("1.1.0", State.SHADOW)
    reference = await world.submit(images=1)
    await world.work()
    world.fhir.add({**world.task(reference), "status": "requested"})
    await world.work()
    assert len(world.shadows()) == 1


SECONDS = 1.5


class Hanging(ScriptedSmearModel):
    """Answers long after anybody waits."""

    async def predict(self, images: Any, /) -> Any:
        time.sleep(SECONDS)
        return self.prediction


async def test_a_shadow_that_fails_or_hangs_touches_no_answer(world: Versioned) -> None:
    world.models["1.1.0"].failure = RuntimeError("broken")
    slow = Hanging(field_of(600, 0, NONE))
    world.here["2.0.0"] = installed("2.0.0", slow)
    world.add("1.1.0", State.SHADOW)
    world.add("2.0.0", State.SHADOW)
    await world.submit(images=1)
    began = time.monotonic()
    await world.work(Budget(seconds=0.1))

    assert time.monotonic() - began < SECONDS
    assert len(world.reports()) == 1
    assert world.shadows() == []


@dataclass
class Slow(ScriptedSmearModel):
    """Takes a while, and keeps when it began."""

    began: list[float] = field(default_factory=list)

    async def predict(self, images: Any, /) -> Any:
        self.began.append(time.monotonic())
        await asyncio.sleep(0.05)
        return self.prediction


async def test_shadows_rest_for_the_share_of_time_that_is_not_theirs(world: Versioned) -> None:
    slow = Slow(field_of(600, 0, NONE))
    world.here["1.1.0"] = installed("1.1.0", slow)
    world.add("1.1.0", State.SHADOW)
    versions = {each.key: each for each in world.here.values()}
    worker = world.worker()
    asked = worker.analysts = analysts(world.fhir, versions, Budget(share=0.2))
    running = asyncio.create_task(asked.shadows.run())
    await asyncio.sleep(0.6)  # waiting is no use of time: nothing rests for that
    for _ in range(3):
        await world.submit(images=1)
    await worker.run_once()
    async with asyncio.timeout(30):
        while len(slow.began) < 2:
            await asyncio.sleep(0.02)
    running.cancel()
    assert 0.2 <= slow.began[1] - slow.began[0] < 2


async def test_another_version_answers_when_the_registry_says_so(world: Versioned) -> None:
    world.add("1.1.0", State.CANDIDATE)
    versions = {each.key: each for each in world.here.values()}
    worker = world.worker()
    worker.analysts = analysts(world.fhir, versions)
    await world.submit(images=1)
    await worker.run_once()
    restate(world.fhir, world.devices["1.0.0"], State.RETIRED)
    restate(world.fhir, world.devices["1.1.0"], State.ACTIVE)
    await world.submit(images=1)
    world.now += timedelta(seconds=11)
    await worker.run_once()

    assert ["1.0.0" in r["conclusion"] for r in world.reports()] == [True, False]


@pytest.mark.parametrize("symptoms", [{}, FEVER])
async def test_without_an_approved_version_there_is_no_opinion_and_nothing_is_lost(
    world: Versioned, symptoms: dict[str, str]
) -> None:
    restate(world.fhir, world.devices["1.0.0"], State.RETIRED)
    reference = await world.submit(images=1, symptoms=symptoms)
    await world.work()

    task = world.task(reference)
    says = world.reports()[0]["conclusion"] if symptoms else task["statusReason"]["text"]
    assert task["status"] == ("completed" if symptoms else "failed")
    assert says.startswith("No AI opinion. Not a negative result.")
    assert "approved for use" in says
    assert world.asked() == {}


async def test_the_seeds_answer_says_that_an_image_got_no_opinion(world: Versioned) -> None:
    restate(world.fhir, world.devices["1.0.0"], State.RETIRED)
    reference = await world.submit(images=1, symptoms=FEVER)
    await world.work()
    observations = world.fhir.of_type("Observation")
    said = answer(
        world.task(reference), world.reports()[0], observations=observations, base_url="http://x"
    )
    assert said["image_analysis_result"] == NO_OPINION


async def test_a_version_whose_files_are_others_by_now_is_not_run(world: Versioned) -> None:
    other = scripted(field_of(600, 0, NONE))
    installed("9.9.9", other)
    changed = installed("1.0.0", world.models["1.0.0"], loads=other)
    reference = await world.submit(images=1)
    await world.work(only=changed)
    assert "not installed here" in world.task(reference)["statusReason"]["text"]


async def test_a_candidate_whose_device_is_out_of_use_gets_no_task(world: Versioned) -> None:
    world.add("1.1.0", State.CANDIDATE, share=50)
    device = world.fhir.resources[world.devices["1.1.0"]]
    world.fhir.add({**device, "status": "inactive"})
    for _ in range(8):
        await world.submit(images=1)
    await world.work()
    assert world.asked() == {"1.0.0": 8}


@pytest.mark.parametrize("symptoms", [{}, FEVER])
async def test_what_a_candidate_read_that_is_recalled_the_version_in_use_reads_again(
    world: Versioned, symptoms: dict[str, str]
) -> None:
    world.add("1.1.0", State.CANDIDATE, share=50)
    worker = world.worker()
    versions = {each.key: each for each in world.here.values()}
    worker.analysts = analysts(world.fhir, versions)
    await world.submit(images=1)
    await worker.run_once()  # the registry is known now, for ten seconds
    recall(world, "1.1.0")
    for _ in range(8):
        await world.submit(images=1, symptoms=symptoms)
    await worker.run_once()

    assert {task["status"] for task in world.fhir.of_type("Task")} == {"completed"}
    later = world.reports()[1:]
    again = [r["conclusion"] for r in later if "recalled while it read them" in r["conclusion"]]
    assert again
    assert "Malaria cell model 1.1.0 was recalled" in again[0]
    assert all("Images (AI, Malaria cell model 1.0.0" in r["conclusion"] for r in later)
    devices = {o["device"]["reference"] for o in world.fhir.of_type("Observation")[1:]}
    assert world.devices["1.1.0"] not in devices


async def test_a_recalled_version_in_use_has_nobody_to_fall_back_to(world: Versioned) -> None:
    worker = world.worker()
    worker.analysts = analysts(world.fhir, {each.key: each for each in world.here.values()})
    await world.submit(images=1)
    await worker.run_once()
    recall(world, "1.0.0")
    reference = await world.submit(images=1)
    await worker.run_once()

    assert world.task(reference)["status"] == "failed"
    text = world.task(reference)["statusReason"]["text"]
    assert "Malaria cell model 1.0.0 was recalled." in text


async def test_the_arm_is_on_the_observation_and_in_the_report(world: Versioned) -> None:
    world.add("1.1.0", State.CANDIDATE, share=50)
    for _ in range(12):
        await world.submit(images=1)
    await world.work()
    await world.work()

    arms, layouts = set(), set()
    for observation in world.fhir.of_type("Observation"):
        (shown,) = [c for c in observation["component"] if c["code"]["coding"][0]["code"] == "arm"]
        arms.add((shown["valueString"], observation["device"]["reference"]))
        layouts.add(tuple(sorted(observation)))
    assert arms == {("A", world.devices["1.0.0"]), ("B", world.devices["1.1.0"])}
    assert len(layouts) == 1
    for report in world.reports():
        assert "1.0.0, arm A)" in report["conclusion"] or "1.1.0, arm B)" in report["conclusion"]
    # Each Task was read by the other arm too, in the shadow.
    assert len(world.shadows()) == 12


@given(some.uuids().map(str), some.integers(0, 50), some.integers(0, 50))
def test_an_arm_is_stable_and_a_larger_share_only_adds(task: str, share: int, more: int) -> None:
    key = "malaria-cell-1.1.0"
    assert 0 <= place(task, key) < 100
    assert arm(task, key, share) == arm(task, key, share)
    if arm(task, key, share) == CANDIDATE:
        assert arm(task, key, min(50, share + more)) == CANDIDATE
    assert arm(task, key, 0) != CANDIDATE


@pytest.mark.parametrize("share", [1, 10, 50])
def test_the_share_of_many_tasks_is_the_share(share: int) -> None:
    tasks = [f"{number:08x}-task" for number in range(20_000)]
    got = sum(arm(task, "k", share) == CANDIDATE for task in tasks) / 200
    assert abs(got - share) < 1.2


def test_arms_of_two_candidates_are_independent() -> None:
    tasks = [str(number) for number in range(10_000)]
    both = sum(arm(t, "k1", 50) == arm(t, "k2", 50) for t in tasks)
    assert 4800 < both < 5200


def test_the_documented_hash_is_what_is_used() -> None:
    # SHA-256 of "k\nt" begins so; anybody can repeat it.
    import hashlib

    first = int(hashlib.sha256(b"k\nt").hexdigest()[:16], 16)
    assert place("t", "k") == first / 2**64 * 100


async def test_the_answer_does_not_wait_for_the_shadows(world: Versioned) -> None:
    world.here["1.1.0"] = installed("1.1.0", Hanging(field_of(600, 0, NONE)))
    world.add("1.1.0", State.SHADOW)
    await world.submit(images=1)
    versions = {each.key: each for each in world.here.values()}
    worker = world.worker()
    worker.analysts = analysts(world.fhir, versions)
    await asyncio.wait_for(worker.run_once(), SECONDS)
    assert len(world.reports()) == 1
