"""What runs beside the version in use, and is seen by nobody in care (ADR 0021).

A shadow begins when the Task's result is stored. It has a thread, a time limit and a share of the
time of its own, so nothing that it does or fails to do reaches an answer. What it said becomes one
Basic that holds its Observation, under a label that scopes of care don't open; its Provenance
says what was read. A shadow that is not run is missing in a comparison, and nowhere else.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import structlog

from fhir_server.fhir.assessment import AI_ASSERTED, CANONICAL
from fhir_server.fhir.codec import instant
from fhir_server.fhir.model_versions import SHADOW_RESULT
from models.ai_systems import MODEL_CARDS, Trace, ai_provenance, model_card
from models.fhir_client import FhirClient, FhirFailure
from models.lifecycle.versions import Loaded, Registered, Versions
from models.malaria.reading import SmearImage

Resource = dict[str, Any]
_log = structlog.get_logger("medsage.models")

RESULTS = f"{CANONICAL}/identifier/shadow-result"
TASK_OF_RESULT = f"{CANONICAL}/StructureDefinition/shadow-of-task"
ANSWER = f"{CANONICAL}/StructureDefinition/shadow-answer"
SAID = "said"
MOST_WAITING = 20


@dataclass(frozen=True)
class Given:
    """What the version in use was given: the Task, the images and their references."""

    task: Resource
    images: Sequence[SmearImage]
    references: Sequence[str]


class ToObservation(Protocol):
    """How a prediction becomes an Observation of the Task's patient."""

    def __call__(self, prediction: Any, given: Given, device: str, /) -> Resource:
        """The Observation as the version would have written it in use."""
        ...


@dataclass(frozen=True)
class Budget:
    """What shadows may take: seconds for one, and of the time as a whole a share."""

    seconds: float = 60.0
    share: float = 0.25


@dataclass
class Shadows:
    """`offer` what may be run in the shadow, and `run` it behind."""

    fhir: FhirClient
    versions: Versions
    observation: ToObservation
    clock: Callable[[], datetime]
    budget: Budget = field(default_factory=Budget)
    new_uuid: Callable[[], str] = lambda: str(uuid.uuid4())
    _waiting: "asyncio.Queue[tuple[Given, Registered]]" = field(
        default_factory=lambda: asyncio.Queue(MOST_WAITING), init=False
    )
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "shadow"), init=False
    )

    def offer(self, given: Given, others: Sequence[Registered]) -> None:
        """Run these versions on it when there is time; what doesn't fit in is left out."""
        for version in others:
            try:
                self._waiting.put_nowait((given, version))
            except asyncio.QueueFull:
                _log.warning("shadow left out", version=version.key)

    async def run(self) -> None:
        """Runs what is offered, one at a time, until cancelled."""
        try:
            while True:
                waiting = await self._waiting.get()
                began = time.monotonic()
                await self._one(*waiting)
                took = time.monotonic() - began
                await asyncio.sleep(took * (1 / self.budget.share - 1))
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def work_off(self) -> None:
        """Runs all that has been offered."""
        while not self._waiting.empty():
            await self._one(*self._waiting.get_nowait())

    async def _one(self, given: Given, version: Registered) -> None:
        """Runs one; whatever goes wrong with it ends with it."""
        try:
            await asyncio.wait_for(self._shadow(given, version), self.budget.seconds)
        except FhirFailure as failure:
            _log.warning("shadow result not stored", version=version.key, status=failure.status)
        except Exception as failure:
            # The text could hold patient data: only its kind.
            _log.warning("shadow failed", version=version.key, error=type(failure).__name__)

    async def _shadow(self, given: Given, version: Registered) -> None:
        loaded = await self.versions.loaded(version)
        if loaded is None:
            return
        # Nothing is read of a patient who does not permit it any more: the Task is gone for us.
        await self.fhir.read(f"Task/{given.task['id']}")
        predict = loaded.model.predict
        # A loop and its threads of its own: one that hangs takes none of those that answer.
        prediction = await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: asyncio.run(_ask(predict, given.images))
        )
        observation = self.observation(prediction, given, version.device)
        await self.fhir.transaction(self._result(given, loaded, observation))

    def _result(self, given: Given, loaded: Loaded, observation: Resource) -> Resource:
        """One transaction; a repeat finds that it is there."""
        system, now = loaded.installed.system, instant(self.clock())
        result, card = (f"urn:uuid:{self.new_uuid()}" for _ in range(2))
        name = f"{given.task['id']}-{loaded.device.partition('/')[2]}"
        without_meta = {name: value for name, value in observation.items() if name != "meta"}
        basic = {
            "resourceType": "Basic",
            "meta": {"security": [SHADOW_RESULT, AI_ASSERTED]},
            # A contained resource bears no labels of its own (dom-5).
            "contained": [{**without_meta, "id": SAID}],
            "extension": [
                _refers(TASK_OF_RESULT, f"Task/{given.task['id']}"),
                _refers(ANSWER, f"#{SAID}"),
            ],
            "identifier": [{"system": RESULTS, "value": name}],
            "code": {"coding": [SHADOW_RESULT]},
            "subject": given.task["for"],
            "created": now[:10],
        }
        trace = Trace((result,), loaded.device, card, given.references)
        entries = [
            _entry(model_card(system), card, f"identifier={MODEL_CARDS}|{system.key}"),
            _entry(basic, result, f"identifier={RESULTS}|{name}"),
            _entry(ai_provenance(trace, now), f"urn:uuid:{self.new_uuid()}"),
        ]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def _ask(predict: Callable[[Any], Any], images: Sequence[SmearImage]) -> Any:
    return await predict(images)


def _refers(url: str, reference: str) -> Resource:
    return {"url": url, "valueReference": {"reference": reference}}


def _entry(resource: Resource, url: str, unless: str | None = None) -> Resource:
    request = {"method": "POST", "url": resource["resourceType"]}
    if unless:
        request["ifNoneExist"] = unless
    return {"fullUrl": url, "resource": resource, "request": request}
