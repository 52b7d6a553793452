"""The recorder of spans on OpenTelemetry's SDK; the only module that knows it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fhir_server import spans
from fhir_server.rest.trace import ANSWERING, HEADER

_KINDS: Mapping[spans.Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_CONTEXT = TraceContextTextMapPropagator()
_SEND_MILLISECONDS = 1_000
"""Spans are sent in the background, at the latest after so long."""
_UNNAMED = "unknown_service"
_END_MILLISECONDS = 3_000
"""What the end of a process may wait for the last ones."""


class _TraceIds(RandomIdGenerator):
    """A trace that begins with a request has the id that the request's log lines say."""

    def generate_trace_id(self) -> int:
        answering = ANSWERING.get()
        return super().generate_trace_id() if answering is None else int(answering.trace.id, 16)


class _Kept:
    """One span of the SDK, as the port speaks of it."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def called(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, name: str, value: spans.Value) -> None:
        self._span.set_attribute(name, value)


class OpenTelemetryRecorder:
    """Keeps spans with one tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(
        self,
        name: str,
        kind: spans.Kind,
        parent: str | None,
        attributes: Mapping[str, spans.Value],
    ) -> Iterator[spans.Span]:
        """As the port says. The SDK would add message and lines of an exception, which may hold
        what belongs to a patient."""
        context = None if parent is None else _CONTEXT.extract({HEADER: parent})
        with self._tracer.start_as_current_span(
            name,
            context,
            _KINDS[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as kept:
            try:
                yield _Kept(kept)
            except Exception as failure:
                kept.set_status(Status(StatusCode.ERROR))
                kept.set_attribute("error.type", type(failure).__name__)
                raise

    def current(self) -> str | None:
        """As the port says."""
        if not get_current_span().get_span_context().is_valid:
            return None
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier)
        return carrier[HEADER]


@contextmanager
def recording(role: str) -> Iterator[None]:
    """Keep the spans of this process and send them, until the context ends."""
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, where they name it.
    named = Resource.create({SERVICE_VERSION: version("medsage")})
    if str(named.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        named = named.merge(Resource({SERVICE_NAME: f"medsage-{role}"}))
    provider = TracerProvider(resource=named, id_generator=_TraceIds(), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=_SEND_MILLISECONDS)
    )
    try:
        with spans.recorded_by(OpenTelemetryRecorder(provider.get_tracer("medsage"))):
            yield
    finally:
        provider.force_flush(_END_MILLISECONDS)
        provider.shutdown()
