"""A request that failed or was refused is found in the log by its id, at the level that is set when
nobody sets one."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from deploy.front import Front
from deploy.logs import configure
from deploy.monitoring.requests import MeasuredRequests
from deploy.route_names import NamedPart, fhir_shape
from fhir_server.rest.middleware import RequestIds
from fhir_server.rest.request import Receive, Scope, Send
from fhir_server.rest.trace import of_tenant
from fhir_server.settings import Settings

TRACE = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def logging_as_by_default() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure(Settings.model_fields["log_level"].default)
    try:
        yield
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()


async def fhir(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the status that the query names; without one it breaks."""
    of_tenant("north")
    status = int(scope["query_string"].partition(b"=")[2])
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def line_of(path: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object] | None:
    """What is logged of a GET; None when that is nothing."""
    front = Front()
    parts = {"fhir": NamedPart("/fhir", fhir, fhir_shape)}
    front.parts, front.others = parts, NamedPart("", FastAPI())
    application = RequestIds(MeasuredRequests(front, CollectorRegistry(), parts), lambda: "new")
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    headers = {"X-Request-Id": "asked-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    with logging_as_by_default():
        async with httpx.AsyncClient(transport=transport, base_url="http://x.test") as http:
            await http.get(path, headers=headers)
    said = capsys.readouterr().err
    lines = [json.loads(line) for line in said.splitlines()]
    found = [line for line in lines if line["logger"] == "medsage.requests"]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("asked", "status", "level"),
    [("status=403", 403, "info"), ("status=503", 503, "warning"), ("", 500, "warning")],
)
async def test_one_line_says_what_was_asked_and_answered_and_no_content(
    asked: str, status: int, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = await line_of(f"/fhir/Patient/quartey-boateng?{asked}", capsys)
    assert line is not None
    assert float(str(line.pop("seconds"))) >= 0
    del line["timestamp"]
    assert line == {
        "event": "answered",
        "level": level,
        "logger": "medsage.requests",
        "part": "fhir",
        "method": "GET",
        "route": "/fhir/{type}/{id}",
        "status": status,
        "request_id": "asked-1",
        "trace_id": TRACE,
        "tenant": "north",
    }


async def test_what_no_route_answers_is_told_without_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = await line_of("/quartey-boateng/1", capsys)
    assert line is not None
    assert (line["status"], line["part"], line["route"]) == (404, "other", "unknown")


async def test_what_was_answered_well_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert await line_of("/fhir/Patient/1?status=200", capsys) is None
