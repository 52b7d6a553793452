"""A worker may die at any request, before it is done or after: each Task still has one report."""

import itertools
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from fhir_server.fhir.assessment import Image, Intake, Parties, submission
from models.analysis import Analysts
from models.fhir_client import CallerToken, FhirClient
from models.malaria.reading import SmearAnswer
from models.symptoms.red_flags import SafeAnalyst
from models.worker import Pace, Worker
from tests.fhir_double import BASE, FhirDouble
from tests.smear_predictions import ScriptedSmearModel, field_of

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
PATIENT = {"resourceType": "Patient", "birthDate": "1990-01-01"}


class Killed(BaseException):
    """The end of a process, as far as a test can make one."""


class World:
    """A FHIR server with one Task, and workers one after the other."""

    def __init__(self) -> None:
        self.now = NOW
        self.fhir = FhirDouble(clock=lambda: self.now)

    async def submit(self) -> None:
        numbers = itertools.count()
        intake = Intake(
            NOW,
            symptoms={"fever": "yes"},
            vitals={"temperature": 39.0},
            images=[Image(b"pixels", "image/png", "smear")],
        )
        bundle = submission(intake, Parties(self.fhir.add(PATIENT)), lambda: next(numbers))
        async with self.fhir.client() as http:
            await http.post(BASE, json=bundle)

    async def work(self) -> None:
        client = FhirClient(self.fhir.client(), BASE, CallerToken(None))
        smear = ScriptedSmearModel(field_of(600, 40, SmearAnswer.SUSPECTED))
        analysts = Analysts(smear, SafeAnalyst())
        pace = Pace(retry_delays_seconds=(0.0,))
        await Worker(client, analysts, pace, clock=lambda: self.now).run_once()


def killed_at(number: int) -> object:
    """A hook that ends the process at its `number`th call."""
    calls = itertools.count(1)

    def hook(request: httpx.Request) -> None:
        if next(calls) == number:
            raise Killed

    return hook


async def requests_of_a_whole_run() -> int:
    world = World()
    await world.submit()
    before = len(world.fhir.requests)
    await world.work()
    return len(world.fhir.requests) - before


@pytest.mark.parametrize("moment", ["interrupt", "after"])
async def test_a_death_at_any_request_leaves_one_report(moment: str) -> None:
    for number in range(1, await requests_of_a_whole_run() + 1):
        world = World()
        await world.submit()
        setattr(world.fhir, moment, killed_at(number))
        with pytest.raises(BaseException):  # noqa: B017 - alone or in a group, as it fell
            await world.work()
        setattr(world.fhir, moment, lambda request: None)

        world.now += timedelta(seconds=61)
        await world.work()

        (task,) = world.fhir.of_type("Task")
        assert task["status"] == "completed", number
        assert len(world.fhir.of_type("DiagnosticReport")) == 1, number
        assert len(world.fhir.of_type("Observation")) == 3, number
        assert len(world.fhir.of_type("Device")) == 3, number


async def test_deaths_in_one_task_are_survived_up_to_the_bound() -> None:
    world = World()
    await world.submit()
    for _ in range(Pace().most_attempts):
        world.fhir.after = killed_at(6)
        with pytest.raises(BaseException):  # noqa: B017
            await world.work()
        world.now += timedelta(seconds=61)
    world.fhir.after = lambda request: None

    await world.work()

    (task,) = world.fhir.of_type("Task")
    assert task["status"] == "failed"
    assert world.fhir.of_type("DiagnosticReport") == []
