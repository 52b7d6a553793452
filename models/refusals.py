"""Why the FHIR server did not let the worker read what was asked, or store what was found."""

from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.withdrawn import NOT_PERMITTED
from models.fhir_client import FhirFailure
from models.wording import NO_OPINION


def is_for_consent(refusal: FhirFailure) -> bool:
    """Whether the server says that it is for the patient's consent or a restriction: what was
    asked may be read then, and what was found may not be written."""
    issues = (refusal.outcome or {}).get("issue", ())
    return any(issue.get("code") == "suppressed" for issue in issues)


def refused(refusal: FhirFailure) -> Issue:
    """The reason, as the Task that ends for it tells it."""
    if is_for_consent(refusal):
        return Issue("error", "suppressed", NOT_PERMITTED)
    code = "not-found" if refusal.status == 404 else "forbidden"
    return Issue("error", code, f"The server refused the analysis: {refusal.text}. {NO_OPINION}")
