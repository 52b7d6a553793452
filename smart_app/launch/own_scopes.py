"""What the app may do at our own server in its own name, for users of other record systems.

Such a user has no account here. The app acts for them with tokens that our server narrows: the
registration reaches what is tagged as a copied chart alone, the token of a session one patient of
it, the token of an import the copies of one issuer (docs/adr/0017-foreign-issuers.md).
"""

from collections.abc import Mapping
from urllib.parse import quote

from fhir_server.fhir.assessment import CHART_TAGS, FROM_EHR, TASK_CODES
from smart_app.launch.scopes import AUDIT_SCOPE, CHART, chart_scope, standalone_scope

COPIED: Mapping[str, str] = {
    "Patient": "crus",
    "Practitioner": "crus",
    "Encounter": "crus",
    "Observation": "cruds",
    "AllergyIntolerance": "cruds",
}
"""What is copied, and what an import does with it: entries that are gone there go here."""
SENDING = "report-to-ehr"
_IN_CHARTS: Mapping[str, str] = {**CHART, "Task": "crus", "Patient": "rs"}
_TAGGED = frozenset({"Binary", "Provenance"})
"""Types without a search parameter for the patient that an entry belongs to."""


def own_scope() -> str:
    """All that the app is registered for in its own name."""
    types = {**_IN_CHARTS, **COPIED, "Observation": "cruds"}
    wanted = [_scope(type_, acts, _tag(FROM_EHR)) for type_, acts in types.items()]
    return " ".join((*wanted, AUDIT_SCOPE))


def registered_scope() -> str:
    """All scopes that the app must be registered with at an authorization server."""
    wanted = f"{chart_scope()} {standalone_scope()} {own_scope()}".split()
    return " ".join(dict.fromkeys(wanted))


def chart_access(patient: str) -> str:
    """The scopes of a session on one copied chart; `patient` is the copy's id."""
    wanted = []
    for type_, acts in _IN_CHARTS.items():
        if type_ == "Patient":
            query = f"_id={patient}"
        elif type_ in _TAGGED:
            query = _tag(chart_tag(patient))
        else:
            query = f"patient=Patient/{patient}"
        wanted.append(_scope(type_, acts, query))
    return " ".join((*wanted, AUDIT_SCOPE))


def copy_access(issuer: str) -> str:
    """The scopes of an import from one issuer; what carries no identifier of it is out of
    reach."""
    query = f"identifier={_quoted(issuer)}|"
    wanted = [_scope(type_, acts, query) for type_, acts in COPIED.items()]
    return " ".join((*wanted, _scope("Provenance", "c", _tag(FROM_EHR)), AUDIT_SCOPE))


def sending_access() -> str:
    """The scopes of the search for reports that wait to be sent."""
    return _scope("Task", "rs", f"code={_quoted(TASK_CODES)}|{SENDING}")


def chart_tag(patient: str) -> Mapping[str, str]:
    """The tag of everything in the copied chart of one patient."""
    return {"system": CHART_TAGS, "code": patient}


def _tag(tag: Mapping[str, str]) -> str:
    return f"_tag={_quoted(tag['system'])}|{_quoted(tag['code'])}"


def _scope(type_: str, acts: str, query: str) -> str:
    return f"system/{type_}.{acts}?{query}"


def _quoted(text: str) -> str:
    return quote(text, safe=":/.")
