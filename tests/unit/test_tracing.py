"""Spans: nothing where nobody asked, and nothing of what failed but its kind where somebody did."""

import sys

import pytest

from deploy.tracing import TracingNotInstalled, is_wanted, tracing
from fhir_server import spans
from fhir_server.rest.routes import template
from tests.otlp_double import collecting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: " "}, False),
        ({ENDPOINT: "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_an_address_switches_traces_on(variables: dict[str, str], wanted: bool) -> None:
    assert is_wanted(variables) is wanted


def test_without_an_address_spans_are_nothing() -> None:
    with tracing({}, "server") as is_on, spans.span("request", "server") as first:
        assert not is_on
        assert spans.current() is None
        with spans.within("store get") as second:
            assert first is second


def test_traces_that_can_not_be_sent_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deploy.tracing.otel", None)
    with (
        pytest.raises(TracingNotInstalled, match="the extra `tracing` is not installed"),
        tracing({ENDPOINT: "http://collector:4318"}, "server"),
    ):
        pass
    assert spans.current() is None


@pytest.mark.tracing
def test_a_failure_is_told_by_its_kind_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.origin)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "ward-server")
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

        def fail() -> None:
            with spans.span("analysis", "consumer", parent=parent) as span:
                span.note("medsage.delivered", True)
                raise ValueError("no such patient: Mwangi")

        with tracing({ENDPOINT: collector.origin}, "server"), pytest.raises(ValueError):
            fail()
    (sent,) = collector.spans
    assert (sent.name, sent.service) == ("analysis", "ward-server")
    assert (sent.trace, sent.parent) == (parent[3:35], parent[36:52])
    assert sent.attributes == {"medsage.delivered": True, "error.type": "ValueError"}
    assert b"Mwangi" not in collector.content


@pytest.mark.tracing
def test_a_caller_who_does_not_record_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.origin)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        with tracing({ENDPOINT: collector.origin}, "server"), spans.span("request", parent=parent):
            assert (spans.current() or "").startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert collector.spans == []


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("", ""),
        ("/Patient/Mwangi", "{type}/{id}"),
        ("/Patient/Mwangi/_history/2", "{type}/{id}/_history/{version}"),
        ("/Patient/Mwangi/$everything", "{type}/{id}/${operation}"),
        ("/$Mwangi", "${operation}"),
        ("/Patient/Mwangi/Observation", "{focus}/{id}/{type}"),
        ("/_async/Mwangi", "_async/{job}"),
        ("/Patient/Mwangi/a/b/c/d", "unknown"),
        ("/Patient/a/b/$Mwangi", "unknown"),
    ],
)
def test_the_template_of_a_path_holds_nothing_of_it(path: str, shape: str) -> None:
    assert template(path) == shape
