"""THE table of classes of requests: what share of the load each is, and how one is made."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from bench import diagnose
from bench.shape.asking import Asking, Request
from bench.shape.ledger import (
    KEPT,
    WRITTEN,
    Ledger,
    Resource,
    located,
    measured,
    names_of_transaction,
    patient_id,
)
from bench.shape.people import PATIENTS
from bench.shape.visits import Browser
from bench.shape.wire import Answer, Caller, request
from models.fhir_client import BackendToken, FhirFailure

_JSON = "application/fhir+json"
APART_SECONDS = 0.25
"""Between two renewals: all come from one address, and nginx takes five a second of one."""
_TOKENS_SECONDS = 5.0
_MADE = frozenset({201})
_WRITTEN = frozenset({200, 201})


@dataclass
class Clinic:
    """A clinic's system with its token, which is renewed beside the requests (`keep_tokens`)."""

    caller: Caller
    tokens: BackendToken
    token: str = ""

    async def renew(self) -> None:
        """Another token when this one's time is nearly over; FhirFailure when there is none."""
        self.token = await self.tokens.token() or ""

    def ask(self, method: str, path: str, body: bytes = b"", **more: str) -> bytes:
        """A request in its name; `more` are headers with `_` for `-`."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": _JSON}
        if body:
            headers["Content-Type"] = _JSON
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        return request(self.caller.door, method, path, headers, body)


@dataclass
class Kept:
    """A resource that the load updates, one update at a time: its name, current version and the
    number of its last update."""

    name: str
    version: str = ""
    value: int = 0


@dataclass
class Stage:
    """Who calls, and what is noted of it. `kept` are the resources that wait for an update."""

    asking: Asking
    ledger: Ledger
    clinics: Sequence[Clinic]
    browsers: Sequence[Browser]
    numbers: Iterator[int]
    chance: Random
    kept: deque[Kept] = field(default_factory=deque)

    def clinic(self, number: int) -> Clinic:
        """Whose turn it is."""
        return self.clinics[number % len(self.clinics)]

    def browser(self, number: int) -> Browser:
        """Whose turn it is."""
        return self.browsers[number % len(self.browsers)]


async def keep_tokens(clinics: Sequence[Clinic]) -> None:
    """Renew the tokens long before they expire, again and again; one that can't be renewed now
    stays in use meanwhile."""
    while True:
        await asyncio.sleep(_TOKENS_SECONDS)
        for clinic in clinics:
            with suppress(FhirFailure):
                await clinic.renew()
            await asyncio.sleep(APART_SECONDS)


Does = Callable[[Stage, float], Coroutine[Any, Any, None]]
"""Make a request that is due at this time of the event loop, and note what it wrote."""


@dataclass(frozen=True)
class Class:
    """Of a hundred requests so many are of the class."""

    share: int
    does: Does


async def _read(stage: Stage, due: float) -> None:
    clinic = stage.clinic(next(stage.numbers))
    type_, suffix = stage.chance.choice((("Patient", ""), ("Encounter", "-visit")))
    path = f"/fhir/{type_}/{patient_id(stage.chance.randrange(PATIENTS))}{suffix}"
    await stage.asking.ask(clinic.caller, Request("read", clinic.ask("GET", path)), due)


_SEARCHES: Sequence[Callable[[int], str]] = (
    lambda number: f"Patient?name=family{number:03}",
    lambda number: f"Patient?birthdate=ge{1950 + number % 50}-01-01&gender=female&_count=10",
    lambda number: f"Observation?patient={patient_id(number)}&code=8867-4&_count=10",
    lambda number: f"Encounter?patient={patient_id(number)}&_include=Encounter:subject",
    lambda number: f"Observation?identifier={WRITTEN}|{KEPT}{number % 10}",
    lambda number: f"Task?patient={patient_id(number)}&_sort=-authored-on&_count=5",
)


async def _search(stage: Stage, due: float) -> None:
    number = next(stage.numbers)
    clinic, patient = stage.clinic(number), stage.chance.randrange(PATIENTS)
    asked = _SEARCHES[number % len(_SEARCHES)](patient).replace("|", "%7C")
    await stage.asking.ask(
        clinic.caller, Request("search", clinic.ask("GET", f"/fhir/{asked}")), due
    )


async def _create(stage: Stage, due: float) -> None:
    number = next(stage.numbers)
    clinic, name = stage.clinic(number), f"create-{number}"
    content = measured(name, number, patient_id(number % PATIENTS))
    sent = clinic.ask(
        "POST", "/fhir/Observation", orjson.dumps(content), Idempotency_Key=f'"{name}"'
    )
    stage.ledger.unknown.add(name)
    answer = await stage.asking.ask(clinic.caller, Request("create", sent, _MADE), due)
    if answer is not None:
        stage.ledger.unknown.discard(name)
        stage.ledger.take(answer.header("location"), content)


async def _update(stage: Stage, due: float) -> None:
    """One of those that nobody is updating; one whose update was not answered is left alone
    from then on, as its version is not known."""
    number = next(stage.numbers)
    clinic = stage.clinic(number)
    kept = stage.kept.popleft() if stage.kept else Kept(f"{KEPT}{number}")
    content = {**measured(kept.name, number, patient_id(0)), "id": kept.name}
    matching = {"If_Match": f'W/"{kept.version}"'} if kept.version else {}
    sent = clinic.ask(
        "PUT",
        f"/fhir/Observation/{kept.name}",
        orjson.dumps(content),
        Idempotency_Key=f'"update-{number}"',
        **matching,
    )
    answer = await stage.asking.ask(clinic.caller, Request("update", sent, _WRITTEN), due)
    if answer is not None:
        kept.version = _version(answer)
        reference = f"Observation/{kept.name}/_history/{kept.version}"
        stage.ledger.take(reference, measured(kept.name, number, patient_id(0)))
        stage.kept.append(kept)


def _version(answer: Answer) -> str:
    return answer.header("etag").removeprefix('W/"').removesuffix('"')


async def _bundle(stage: Stage, due: float) -> None:
    number = next(stage.numbers)
    clinic, names = stage.clinic(number), names_of_transaction(number)
    contents = [measured(name, number, patient_id(number % PATIENTS)) for name in names]
    entries = [
        {"resource": each, "request": {"method": "POST", "url": "Observation"}} for each in contents
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    key = f'"transaction-{number}"'
    sent = clinic.ask("POST", "/fhir", orjson.dumps(bundle), Idempotency_Key=key)
    stage.ledger.unknown.update(names)
    stage.ledger.transactions.add(number)
    answer = await stage.asking.ask(clinic.caller, Request("bundle", sent), due)
    if answer is not None:
        stage.ledger.unknown.difference_update(names)
        made: Sequence[Resource] = orjson.loads(answer.body)["entry"]
        for entry, content in zip(made, contents, strict=True):
            stage.ledger.take(entry["response"]["location"], content)


async def _diagnose(stage: Stage, due: float) -> None:
    """Every second one with an image."""
    number = next(stage.numbers)
    clinic = stage.clinic(number)
    name = "cell-parasitized.png" if number % 2 else None
    image = (diagnose.IMAGES / name).read_bytes() if name else None
    body = diagnose.form(name, diagnose.marked(image, number) if image else None)
    kind = f"multipart/form-data; boundary={diagnose.BOUNDARY}"
    key = f'"diagnose-{number}"'
    sent = clinic.ask("POST", "/api/diagnose", body, Content_Type=kind, Idempotency_Key=key)
    answer = await stage.asking.ask(clinic.caller, Request("diagnose", sent), due)
    if answer is not None:
        stage.ledger.tasks.add(located_task(orjson.loads(answer.body)))


def located_task(answer: Resource) -> str:
    """The id of the Task that an answer of `/api/diagnose` names."""
    reference = str(answer["links"]["task"])
    return located(f"{reference}/_history/0")[0].partition("/")[2]


async def _page(stage: Stage, due: float) -> None:
    number = next(stage.numbers)
    browser = stage.browser(number)
    path = (f"{browser.home}patients?name=Family0", browser.chart, f"{browser.chart}intake")
    sent = browser.get(path[number // len(stage.browsers) % len(path)])
    await stage.asking.ask(browser.caller, Request("page", sent), due)


async def _metadata(stage: Stage, due: float) -> None:
    number = next(stage.numbers)
    clinic = stage.clinic(number)
    path = "metadata" if number % 2 else ".well-known/smart-configuration"
    await stage.asking.ask(
        clinic.caller, Request("metadata", clinic.ask("GET", f"/fhir/{path}")), due
    )


CLASSES: Mapping[str, Class] = {
    "read": Class(30, _read),
    "search": Class(20, _search),
    "create": Class(11, _create),
    "update": Class(8, _update),
    "bundle": Class(3, _bundle),
    "diagnose": Class(1, _diagnose),
    "page": Class(20, _page),
    "metadata": Class(7, _metadata),
}
