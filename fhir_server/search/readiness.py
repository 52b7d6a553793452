"""No search is answered from half an index: FhirError 503 with the progress instead."""

from fhir_server.fhir.outcome import FhirError, busy
from fhir_server.search.registry import Parameter, Registry

RETRY_SECONDS = 5


def require_ready(registry: Registry, parameter: Parameter) -> None:
    """FhirError 503 while the index of the parameter is not whole."""
    if not registry.is_ready(parameter):
        named = f"the search parameter {parameter.code} of {parameter.type} is"
        raise _unready(registry, named)


def require_standard(registry: Registry) -> None:
    """FhirError 503 while the index of R4's own parameters is not whole: compartments, lists and
    code systems are looked up by them unnamed."""
    if not registry.is_standard_ready:
        raise _unready(registry, "the search parameters of R4 are")


def _unready(registry: Registry, what: str) -> FhirError:
    return busy(
        f"{what} being indexed, {registry.progress.percent} % done;"
        " no search is answered from half an index",
        retry_after_seconds=RETRY_SECONDS,
    )
