"""What a running server tells after a busy session: metrics, log lines and spans; and what PromQL
asks for."""

import asyncio
import io
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client.parser import text_string_to_metric_families

from deploy.logs import configure
from fhir_server.storage.master_keys import new_master_key
from tests.availability import ROOT, SUITES
from tests.certificates import certificates
from tests.composed_world import Whole, observation, whole
from tests.otlp_double import Collector, collecting

PEOPLES = ("Mwangi", "1987-03-19", "MRN-90210", "dr.nobody", "burning chest")
"""What the session says that belongs to people, or could."""
LANGUAGE_MODEL = "scripted-1"
_PERSON = {
    "resourceType": "Patient",
    "name": [{"family": PEOPLES[0]}],
    "birthDate": PEOPLES[1],
    "identifier": [{"system": "urn:mrn", "value": PEOPLES[2]}],
}
_HOOK = {"type": "rest-hook", "endpoint": "http://127.0.0.1:9/told"}
_WATCH = {
    "resourceType": "Subscription",
    "status": "requested",
    "reason": "Told of patients",
    "criteria": f"Patient?family={PEOPLES[0]}",
    "channel": _HOOK,
}


TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
"""A trace that a caller has begun, and its span."""


@dataclass(frozen=True)
class Told:
    """The exposition, what the process logged, and what it sent of traces (None: the SDK is not
    installed)."""

    exposition: str
    log: str
    traces: Collector | None


def busy_session(folder: Path) -> Told:
    """What is told after reads, writes, searches, refusals, sign-ins and analyses."""
    written = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with redirect_stderr(written), ExitStack() as stack:
            configure("debug")
            traces = None
            if SUITES["tracing"].missing() is None:
                traces = stack.enter_context(collecting())
                os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = traces.origin
            exposition = asyncio.run(_session(folder))
    finally:
        root.handlers[:], root.level = handlers, level
        os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
        structlog.reset_defaults()
    return Told(exposition, written.getvalue(), traces)


async def _session(folder: Path) -> str:
    (folder / "backup_key").write_text(new_master_key())
    given = {
        "tls_ca_file": str(certificates(folder / "tls").authority),
        "backup_target": str(folder / "backups"),
        "backup_key_file": str(folder / "backup_key"),
        # A provider that is not there: what it is asked ends as failed.
        "gemini_api_key": "of a provider that is not there",
        "gemini_base_url": "http://127.0.0.1:9",
        "gemini_model": LANGUAGE_MODEL,
    }
    async with whole(folder / "data", **given) as service:
        await _records(service)
        await _refusals(service)
        await _analyses(service)
        await _traced(service)
        answer = await service.http.get("/api/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text


async def _records(service: Whole) -> None:
    send = service.send
    await send("POST", "/fhir/Subscription", json=_WATCH)
    made = await send("POST", "/fhir/Patient", json=_PERSON)
    assert made.status_code == 201, made.text
    path = f"/fhir/Patient/{made.json()['id']}"
    await send("GET", path)
    await send("GET", f"{path}/_history/1")
    await send("PUT", path, json={**made.json(), "gender": "female"})
    for query in (f"family={PEOPLES[0]}", f"identifier={PEOPLES[2]}", f"birthdate={PEOPLES[1]}"):
        assert (await send("GET", f"/fhir/Patient?{query}")).status_code == 200
    entry = {"resource": observation(), "request": {"method": "POST", "url": "Observation"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await send("POST", "/fhir", json=bundle)).status_code == 200
    await send("GET", "/fhir/metadata", None)
    await send("GET", "/app/", None)


async def _refusals(service: Whole) -> None:
    send = service.send
    await send("GET", f"/fhir/Patient/{PEOPLES[2]}")
    await send("GET", f"/fhir/{PEOPLES[0]}/1")
    await send("GET", f"/{PEOPLES[0]}/1", None)
    await send("GET", f"/fhir/Patient?name={PEOPLES[0]}", PEOPLES[3])
    await send("POST", "/fhir/Patient", json={**_PERSON, "gender": PEOPLES[0]})
    await send(PEOPLES[0].upper(), "/fhir/Patient")
    for form in (
        {"grant_type": PEOPLES[0], "client_id": PEOPLES[3]},
        {"grant_type": "authorization_code", "client_id": "medsage-app", "code": PEOPLES[2]},
    ):
        assert (await send("POST", "/auth/token", None, data=form)).status_code in (400, 401)
    login = {"username": PEOPLES[3], "password": PEOPLES[0], "csrf": "none"}
    await send("POST", "/auth/login", None, data=login)
    token = await service.user_token("dr.amina")
    await send("DELETE", "/fhir/AuditEvent/none", token)


async def _traced(service: Whole) -> None:
    """An analysis that a caller ordered within a trace of its own."""
    content = (ROOT / "deploy/demo/images/cell-parasitized.png").read_bytes()
    await service.send(
        "POST",
        "/api/diagnose",
        headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "asked-1"},
        data={"age": "38", "weight": "61", "height": "168", "symptoms": f"fever, {PEOPLES[4]}"},
        files={"imageUpload": (f"{PEOPLES[0]}.png", content, "image/png")},
    )
    path = f"/fhir/Patient?name={PEOPLES[0]}"
    await service.send("GET", path, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})


async def _analyses(service: Whole) -> None:
    fields = {"age": "38", "weight": "61", "height": "168", "symptoms": f"fever, {PEOPLES[4]}"}
    for name in ("cell-parasitized", "not-a-smear"):
        content = (ROOT / f"deploy/demo/images/{name}.png").read_bytes()
        files = {"imageUpload": (f"{PEOPLES[0]}.png", content, "image/png")}
        await service.send("POST", "/api/diagnose", data=fields, files=files)


@dataclass(frozen=True)
class Sample:
    """One series, as it was told."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples_of(exposition: str) -> list[Sample]:
    """Every series of an exposition."""
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    ]


@dataclass(frozen=True)
class Selector:
    """One series that an expression asks for: its name, and (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([A-Za-z_:][\w:]*)\b\s*(\{[^}]*\}|(?![\w(]))(?!\s*\()")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = frozenset({"and", "or", "unless", "bool", "offset"})


def selectors(expression: str) -> Iterator[Selector]:
    """The series that it asks for."""
    bare = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", expression))
    for name, matchers in _SELECTOR.findall(bare):
        if name not in _WORDS:
            yield Selector(name, tuple(_MATCHER.findall(matchers)))


def groupings(expression: str) -> frozenset[str]:
    """The labels that it groups by."""
    listed = (label.strip() for each in _GROUPING.findall(expression) for label in each.split(","))
    return frozenset(filter(None, listed))
