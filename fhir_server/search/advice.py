"""What a caller is told whose search was too costly: which parameters would narrow it."""

from collections.abc import Iterable
from dataclasses import replace

from fhir_server.fhir.outcome import FhirError
from fhir_server.search.registry import Registry

NARROWING = ("patient", "subject", "encounter", "identifier", "code", "date", "_lastUpdated")
"""Parameters that few resources share a value of, the most selective first."""
MOST_NAMED = 3


def advised(
    refusal: FhirError, type_: str, applied: Iterable[tuple[str, str]], registry: Registry
) -> FhirError:
    """The refusal; one for being too costly also names parameters of the type that the search
    does not use yet."""
    if all(issue.code != "too-costly" for issue in refusal.issues):
        return refusal
    used = {name.partition(":")[0].partition(".")[0] for name, _ in applied}
    known = [code for code in NARROWING if registry.parameter(type_, code) is not None]
    helpful = [code for code in known if code not in used][:MOST_NAMED]
    if not helpful:
        return refusal
    advice = f"; what narrows a search on {type_}: {', '.join(helpful)}"
    issues = tuple(
        replace(issue, diagnostics=issue.diagnostics + advice)
        if issue.code == "too-costly"
        else issue
        for issue in refusal.issues
    )
    return FhirError(refusal.status, issues, refusal.headers)
