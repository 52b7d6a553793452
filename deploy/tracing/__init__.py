"""Traces, sent by OTLP over HTTP where OpenTelemetry's own variables say so.

    with tracing(os.environ, "server") as is_on: …

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) switches it on; all the others that the SDK
knows work too (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_SDK_DISABLED` …). Without an address nothing of OpenTelemetry's SDK is imported.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

SWITCHES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DISABLED = "OTEL_SDK_DISABLED"


class TracingNotInstalled(ValueError):
    """Traces are asked for and the extra `tracing` is not installed."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables ask for traces."""
    disabled = environment.get(_DISABLED, "").strip().lower() == "true"
    return not disabled and any(environment.get(name, "").strip() for name in SWITCHES)


@contextmanager
def tracing(environment: Mapping[str, str], role: str) -> Iterator[bool]:
    """Keep and send the spans of this process as long as the context is open, if that is asked
    for; whether it is. TracingNotInstalled when it can't be done."""
    if not is_wanted(environment):
        yield False
        return
    try:
        from deploy.tracing.otel import recording
    except ImportError as missing:
        raise TracingNotInstalled(
            f"traces are asked for ({', '.join(SWITCHES)}), and the extra `tracing` is not "
            f"installed: {missing.name}"
        ) from None
    with recording(role):
        yield True
