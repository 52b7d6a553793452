"""Log lines tell where something failed and in which request, and no values that were at hand."""

import json
import logging
import re

import httpx
import pytest
import structlog

from deploy.logs import configure
from deploy.monitoring.watch import in_trace
from fhir_server.rest.middleware import RequestIds
from fhir_server.rest.request import Receive, Scope, Send
from fhir_server.rest.trace import Trace, of_tenant, trace_of


@pytest.mark.parametrize("logger", ["standard", "structlog"])
def test_a_failure_is_told_by_type_and_place_alone(
    logger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    configure("info")
    try:
        secret = "Bearer of a name"
        raise ValueError(f"no such patient: {secret}")
    except ValueError:
        if logger == "standard":
            logging.getLogger("some.library").exception("it failed")
        else:
            structlog.stdlib.get_logger("some.part").exception("it failed")
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
        structlog.reset_defaults()

    line = capsys.readouterr().err.strip()
    assert "Bearer of a name" not in line
    written = json.loads(line)
    assert written["event"] == "it failed"
    assert written["exception"][0]["type"] == "ValueError"
    assert "test_logs.py" in written["exception"][0]["at"][0]


async def test_a_line_says_request_trace_and_tenant_while_a_request_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    called: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        of_tenant("north")
        structlog.get_logger("some.part").warning("within", error=None)
        logging.getLogger("some.library").warning("from a library")
        asked = httpx.Request("GET", "http://elsewhere.example")
        await in_trace(asked)
        called.append(asked.headers["traceparent"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    before = logging.getLogger().handlers[:], logging.getLogger().level
    configure("info")
    try:
        headers = {"traceparent": f"00-{trace}-{parent}-01", "x-request-id": "asked-1"}
        transport = httpx.ASGITransport(RequestIds(answer, lambda: "made"))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            await http.get("/", headers=headers)
        structlog.get_logger("some.part").warning("after")
        outside = httpx.Request("GET", "http://elsewhere.example")
        await in_trace(outside)
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
        structlog.reset_defaults()

    within, library, after = map(json.loads, capsys.readouterr().err.strip().splitlines())
    for line in (within, library):
        assert (line["request_id"], line["trace_id"], line["tenant"]) == ("asked-1", trace, "north")
    assert within["error"] is None
    assert not after.keys() & {"request_id", "trace_id", "tenant"}
    version, passed_on, span, flags = called[0].split("-")
    assert (version, passed_on, flags) == ("00", trace, "01")
    assert span not in (parent, "0" * 16)
    assert "traceparent" not in outside.headers


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
    ],
)
def test_a_header_that_is_not_as_the_standard_says_begins_a_new_trace(header: str | None) -> None:
    first, second = trace_of(header), trace_of(header)
    assert first.id != second.id
    assert re.fullmatch("[0-9a-f]{32}", first.id)
    assert first.id not in str(header)


def test_of_a_later_version_what_is_known_is_read() -> None:
    found = trace_of("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what the future says")
    assert found == Trace("0af7651916cd43dd8448eb211c80319c", is_sampled=False)


@pytest.mark.parametrize("library", ["pymongo.command", "httpx", "httpcore.http11"])
def test_what_is_sent_elsewhere_is_not_logged_even_when_debugging(library: str) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    configure("debug")
    try:
        assert not logging.getLogger(library).isEnabledFor(logging.INFO)
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
        structlog.reset_defaults()
