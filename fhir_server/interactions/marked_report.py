"""A report that bears a mark: its AI result was recalled (ADR 0024), or the patient does not permit
the analysis any more (ADR 0033). Nobody signs such a draft, and nobody takes a mark away.

The app refuses both in words that a person understands; this is for every other way to write.
"""

from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import business_rule
from fhir_server.fhir.recalls import RECALL_TAGS, is_recalled
from fhir_server.fhir.report_status import SIGNED
from fhir_server.fhir.withdrawn import WITHDRAWAL_TAGS, is_withdrawn
from fhir_server.security.principal import Principal
from fhir_server.storage.port import Stored

DIAGNOSTIC_REPORT = "DiagnosticReport"
_MARKS = (
    (is_recalled, "the version of the AI system that made its result was recalled"),
    (is_withdrawn, "the patient does not permit the analysis any more"),
)
_TRACES = (RECALL_TAGS.encode(), WITHDRAWAL_TAGS.encode())


def require_marks_heeded(
    resource: dict[str, Any], current: Stored | None, writer: Principal | None
) -> None:
    """FhirError 422 when a marked draft would be signed, or a mark be taken away. `writer` None
    is the server itself, which marks and takes marks away."""
    if writer is None or current is None:
        return
    # Most reports bear none: their bodies need not be parsed to see that.
    if not any(trace in current.body for trace in _TRACES):
        return
    known = parse(current.body)
    for is_marked, why in _MARKS:
        if not is_marked(known):
            continue
        if known["status"] not in SIGNED and resource.get("status") in SIGNED:
            raise business_rule(f"{current.key} can't be signed: {why}", "DiagnosticReport.status")
        if not is_marked(resource):
            text = f"{current.key} is marked, and the mark stays: {why}"
            raise business_rule(text, "DiagnosticReport.meta.tag")
