"""Whom an interaction is about, for its audit record; cheap, as it runs with every request."""

import re
from functools import cache

import orjson

from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.compartments import SHARED_TYPES, patient_parameters
from fhir_server.fhir.outcome import FhirError
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.security.guard_terms import SECURITY_CONTEXT
from fhir_server.storage.port import Key, Stored, Terms

_PATIENT_REFERENCE = re.compile(rb'"Patient/([A-Za-z0-9\-.]{1,64})[/"]')
_MOST_ISSUES = 5
_PATIENT_VALUE = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")


def patient_of_terms(key: Key, terms: Terms) -> str | None:
    """The id of the patient in whose compartment a resource with these terms lies; the first
    that its compartment parameters name."""
    if key.type == "Patient":
        return key.id
    wanted = _patient_keys(key.type)
    return next(
        (
            value.removeprefix("Patient/")
            for param, value in terms.terms
            if param in wanted and value.startswith("Patient/")
        ),
        None,
    )


@cache
def _patient_keys(type: str) -> frozenset[str]:
    named = frozenset(f"{type}.{code}" for code in patient_parameters(type))
    return named | {SECURITY_CONTEXT} if type == "Binary" else named


def patient_of_stored(context: Context, stored: Stored) -> str | None:
    """The same for a stored version. Most resources name one patient only, which is found
    without parsing; the others are parsed and extracted."""
    key = stored.key
    if key.type == "Patient":
        return key.id
    if key.type in SHARED_TYPES or not stored.body:
        return None
    named = set(_PATIENT_REFERENCE.findall(stored.body))
    if len(named) > 1:
        return patient_of_terms(key, context.extract(orjson.loads(stored.body)))
    return named.pop().decode() if named else None


def patient_of_search(request: FhirRequest) -> str | None:
    """The one patient whom a search asks about; None when it names none or several."""
    type = request.type or ""
    codes = ("_id",) if type == "Patient" else ("patient", *patient_parameters(type))
    named = {value for name, value in request.query if name.removesuffix(":Patient") in codes}
    found = _PATIENT_VALUE.fullmatch(named.pop()) if len(named) == 1 else None
    return found[1] if found else None


def write_record(
    context: Context, stored: Stored, interaction: str, status: int, patient: str | None
) -> bytes:
    """The audit record of a write, for the unit that does it."""
    return context.audit.entry(
        interaction=interaction,
        outcome="success",
        status=status,
        key=stored.key,
        version=stored.version,
        patient=patient,
    )


def read_record(
    context: Context, request: FhirRequest, response: FhirResponse, *, detail: str | None = None
) -> bytes:
    """The audit record of an interaction that wrote nothing."""
    stored = response.stored
    about = stored or response.about
    return context.audit.entry(
        interaction=request.interaction,
        outcome="success",
        status=response.status,
        key=stored.key if stored else _key(request),
        version=stored.version if stored else request.version,
        patient=patient_of_stored(context, about) if about else _patient(request),
        query=_search_text(request),
        detail=detail,
    )


def refusal_record(trail: AuditTrail, request: FhirRequest, refusal: FhirError) -> bytes:
    """The audit record of an interaction that was refused, or failed (500 and more)."""
    return trail.entry(
        interaction=request.interaction,
        outcome="failed" if refusal.status >= 500 else "refused",
        status=refusal.status,
        key=_key(request),
        version=request.version,
        patient=_patient(request),
        query=_search_text(request),
        detail=_detail(refusal),
    )


def bundle_record(context: Context, interaction: str) -> bytes:
    """The audit record of a batch or transaction as a whole; its entries have their own."""
    return context.audit.entry(interaction=interaction, outcome="success", status=200)


def _detail(refusal: FhirError) -> str:
    """What was wrong and where. Not the diagnostics: they may quote what was submitted."""
    return "; ".join(
        " ".join((issue.code, *issue.expression)) for issue in refusal.issues[:_MOST_ISSUES]
    )


def _key(request: FhirRequest) -> Key | None:
    return Key(request.type, request.id) if request.type and request.id else None


def _patient(request: FhirRequest) -> str | None:
    if request.id is not None:
        return request.id if request.type == "Patient" else None
    if request.compartment is not None and request.compartment[0] == "Patient":
        return request.compartment[1]
    return patient_of_search(request)


def _search_text(request: FhirRequest) -> str | None:
    by_criteria = request.interaction in ("update", "patch", "delete") and request.id is None
    if request.operation is not None or (by_criteria and request.query):
        return called(request)
    if request.interaction not in ("search-type", "search-system"):
        return None
    path = request.type or "*"
    if request.compartment is not None:
        path = f"{'/'.join(request.compartment)}/{path}"
    return f"{path}?" + "&".join(f"{name}={value}" for name, value in request.query)


def called(request: FhirRequest) -> str:
    """The call of an operation, or an interaction by criteria, as its URL says it."""
    version = None if request.version is None else f"_history/{request.version}"
    operation = None if request.operation is None else f"${request.operation}"
    parts = (request.type, request.id, version, operation)
    query = "&".join(f"{name}={value}" for name, value in request.query)
    return "/".join(part for part in parts if part) + (f"?{query}" if query else "")
