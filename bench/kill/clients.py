"""Clients that submit through outages and remember what was acknowledged.

Every second submission is repeatable: its creates are conditional on an identifier, so that the
client may send it until it is answered. The others are plain: one that was cut off is left, and
may or may not have been written.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from deploy.demo.loading import demo_tokens
from fhir_server.fhir import codec
from fhir_server.fhir.assessment import CANONICAL, Image, Intake, Parties, submission
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendToken, FhirFailure

Resource = dict[str, Any]

PROOF = f"{CANONICAL}/identifier/proof"
IMAGES = Path(__file__).parents[2] / "deploy/demo/images"
_WARD = 8
_ANSWER_SECONDS = 60.0
_PAUSE_SECONDS = 0.1
_AGAIN = (401, 409, 412, 429)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass
class Sent:
    """One submission. `answers` are the resources as acknowledged; `is_cut_off` when some
    attempt was neither acknowledged nor refused."""

    number: int
    bundle: Resource
    is_repeatable: bool
    answers: list[Resource] = field(default_factory=list)
    is_cut_off: bool = False

    @property
    def is_acknowledged(self) -> bool:
        return bool(self.answers)

    @property
    def versions(self) -> list[tuple[str, str]]:
        """`Type/id` and version id of what was acknowledged."""
        return [
            (f"{each['resourceType']}/{each['id']}", each["meta"]["versionId"])
            for each in self.answers
        ]

    @property
    def identifiers(self) -> frozenset[str]:
        """The identifiers of its resources (a Binary has none)."""
        return frozenset(
            name
            for entry in self.bundle["entry"]
            if (name := identifier_of(entry["resource"])) is not None
        )


def identifier_of(resource: Resource) -> str | None:
    """The proof's identifier of a resource."""
    held = resource.get("identifier", ())
    found = [held] if isinstance(held, dict) else held
    return next((each["value"] for each in found if each.get("system") == PROOF), None)


def submission_number(number: int) -> Sent:
    """The submission of this number: one in five has the image of a cell, one in twenty nothing
    but a picture that is no smear."""
    patient = f"ward-{number % _WARD + 1}"
    is_no_smear, has_cell = number % 20 == 7, number % 5 == 0
    intake = Intake(
        utc_now() - timedelta(seconds=1),
        vitals={} if is_no_smear else {"temperature": 36.0 + number % 50 / 10, "heart_rate": 88},
        symptoms={} if is_no_smear else {"fever": "yes", "vomiting": "no"},
        images=_images("not-a-smear.png" if is_no_smear else "cell-parasitized.png")
        if is_no_smear or has_cell
        else (),
    )
    parties = Parties(f"Patient/{patient}", "Practitioner/dr-amina", f"Encounter/{patient}-visit")
    bundle = submission(intake, parties, new_id)
    is_repeatable = number % 2 == 1
    for place, entry in enumerate(bundle["entry"]):
        _identify(entry, f"{number}.{place}", is_repeatable)
    return Sent(number, bundle, is_repeatable)


def _images(name: str) -> Sequence[Image]:
    return [Image((IMAGES / name).read_bytes(), "image/png", name)]


def _identify(entry: Resource, name: str, is_repeatable: bool) -> None:
    resource, type_ = entry["resource"], entry["resource"]["resourceType"]
    if type_ == "Binary":
        if is_repeatable:  # an id of its own makes it the same one each time
            resource["id"] = new_id()
            entry["request"] = {"method": "PUT", "url": f"Binary/{resource['id']}"}
        return
    identifier = {"system": PROOF, "value": name}
    resource["identifier"] = identifier if type_ == "QuestionnaireResponse" else [identifier]
    if is_repeatable:
        entry["request"]["ifNoneExist"] = f"identifier={PROOF}|{name}"


@dataclass
class Clients:
    """Submits `count` transactions, several at a time; `sent` holds what became of each."""

    http: httpx.AsyncClient
    origin: str
    count: int
    sent: list[Sent] = field(default_factory=list)
    answered: int = 0
    _progress: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _tokens: BackendToken = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = demo_tokens(self.http, self.origin)

    async def run(self, clients: int = 4) -> None:
        """All submissions; returns when each was answered, refused or given up."""
        numbers = itertools.count()

        async def client() -> None:
            while (number := next(numbers)) < self.count:
                sent = submission_number(number)
                self.sent.append(sent)
                await self._submit(sent)
                self.answered += 1
                self._progress.set()

        await asyncio.gather(*(client() for _ in range(clients)))

    async def reached(self, answered: int) -> None:
        """Return when so many submissions are done with."""
        while self.answered < answered:
            self._progress.clear()
            await self._progress.wait()

    async def _submit(self, sent: Sent) -> None:
        body = codec.encode(sent.bundle)
        while not await self._attempt(sent, body):
            if sent.is_cut_off and not sent.is_repeatable:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _attempt(self, sent: Sent, body: bytes) -> bool:
        """Send it once; whether it was acknowledged."""
        headers = {
            "Authorization": f"Bearer {await self.token()}",
            "Content-Type": "application/fhir+json",
            "Prefer": "return=representation",
        }
        try:
            answer = await self.http.post(
                f"{self.origin}/fhir", content=body, headers=headers, timeout=_ANSWER_SECONDS
            )
        except _NOT_SENT:
            return False
        except httpx.HTTPError:
            sent.is_cut_off = True
            return False
        if answer.is_success:
            sent.answers = [entry["resource"] for entry in codec.parse(answer.content)["entry"]]
        elif answer.status_code >= 500:
            sent.is_cut_off = True
        elif answer.status_code not in _AGAIN:
            raise RuntimeError(f"{answer.status_code} {answer.text}")
        return answer.is_success

    async def token(self) -> str:
        """A bearer token, waited for while the server is down."""
        while True:
            try:
                token = await self._tokens.token()
            except FhirFailure:
                token = None
            if token is not None:
                return token
            await asyncio.sleep(_PAUSE_SECONDS)
