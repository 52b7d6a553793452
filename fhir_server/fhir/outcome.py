"""OperationOutcome and the one error that carries it (R4 RESTful API, "Errors").

FhirError is raised through the named constructors below; `rest/errors.py` is its only translator.
Status: 400 unparsable or against base FHIR, 422 against a profile or business rule, 412 failed
precondition, 409 version conflict, 404 never was (or not yours to see), 410 deleted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["fatal", "error", "warning", "information"]

BUSY = 503
"""The status of a refusal that tells only of the moment."""


@dataclass(frozen=True)
class Issue:
    """One OperationOutcome.issue; `code` is from the R4 issue-type code system."""

    severity: Severity
    code: str
    diagnostics: str
    expression: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        issue: dict[str, Any] = {
            "severity": self.severity,
            "code": self.code,
            "diagnostics": self.diagnostics,
        }
        if self.expression:
            issue["expression"] = list(self.expression)
        return issue


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """The issues as an R4 OperationOutcome resource."""
    return {"resourceType": "OperationOutcome", "issue": [issue.as_json() for issue in issues]}


@dataclass(eq=False)
class FhirError(Exception):
    """A refusal: HTTP status, issues for the caller, and response headers such as Retry-After."""

    status: int
    issues: tuple[Issue, ...]
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} " + "; ".join(issue.diagnostics for issue in self.issues)


def error(status: int, code: str, text: str, *expression: str) -> FhirError:
    """A FhirError with one error issue; the named constructors below are preferred."""
    return FhirError(status, (Issue("error", code, text, expression),))


def not_found(what: object) -> FhirError:
    """404: never was, or is not the caller's to see."""
    return error(404, "not-found", f"{what} is not known here")


def gone(what: object) -> FhirError:
    """410: was here and is deleted."""
    return error(410, "deleted", f"{what} was deleted")


def invalid(text: str, *expression: str) -> FhirError:
    """400: against base FHIR, at the FHIRPath `expression`."""
    return error(400, "invalid", text, *expression)


def unparsable(text: str, *expression: str) -> FhirError:
    """400: the body is not JSON, or not a resource at all."""
    return error(400, "structure", text, *expression)


def bad_parameter(text: str) -> FhirError:
    """400: a search or HTTP parameter that is unknown or can't be parsed."""
    return error(400, "invalid", text)


def unsupported(text: str) -> FhirError:
    """400: known to FHIR, not built here."""
    return error(400, "not-supported", text)


def business_rule(text: str, *expression: str) -> FhirError:
    """422: valid FHIR, and against a profile or a rule of this server."""
    return error(422, "business-rule", text, *expression)


def unprocessable(text: str) -> FhirError:
    """422: understood, and at odds with what was sent before."""
    return error(422, "processing", text)


def conflict(text: str) -> FhirError:
    """409: another write came first, or what is being deleted is still needed."""
    return error(409, "conflict", text)


def precondition_failed(text: str, code: str = "conflict") -> FhirError:
    """412: If-Match, If-None-Exist or a conditional reference was not met."""
    return error(412, code, text)


def login_required(text: str) -> FhirError:
    """401: no token, or one that is expired, unknown or not for this server."""
    return FhirError(
        401, (Issue("error", "login", text),), {"WWW-Authenticate": 'Bearer realm="fhir"'}
    )


def forbidden(text: str) -> FhirError:
    """403: the caller is known and may not do this."""
    return error(403, "forbidden", text)


def too_costly(text: str) -> FhirError:
    """400: a search that would look at more than the server is willing to."""
    return error(400, "too-costly", text)


def too_large(text: str) -> FhirError:
    """413: a body beyond the limit."""
    return error(413, "too-long", text)


def throttled(text: str, retry_after_seconds: int) -> FhirError:
    """429: the caller asks too much; again after the given time."""
    issues = (Issue("error", "throttled", text),)
    return FhirError(429, issues, {"Retry-After": str(retry_after_seconds)})


def full(text: str, retry_after_seconds: int) -> FhirError:
    """507: there is no room to store it; nothing was written."""
    headers = {"Retry-After": str(retry_after_seconds)}
    return FhirError(507, (Issue("error", "no-store", text),), headers)


def busy(text: str, retry_after_seconds: int) -> FhirError:
    """503: try the same request again after the given time."""
    return FhirError(
        BUSY, (Issue("error", "transient", text),), {"Retry-After": str(retry_after_seconds)}
    )
