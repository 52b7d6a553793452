"""How long a search may take, and what is said of one that would take longer."""

from fhir_server.fhir.outcome import FhirError, too_costly

SEARCH_SECONDS = 30.0
"""The most, unless the settings say otherwise."""


def search_too_slow(seconds: float) -> FhirError:
    """The refusal of a search or a count."""
    return too_costly(f"the search takes longer than {seconds:g} seconds; add criteria")


def history_too_slow(seconds: float) -> FhirError:
    """The refusal of a history."""
    return too_costly(f"the history takes longer than {seconds:g} seconds; name a type")
