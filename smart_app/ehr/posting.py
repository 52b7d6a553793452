"""One create at a record system, told apart: stored, refused for good, or to be tried later."""

import re
from urllib.parse import quote

import httpx

from smart_app.fhir_client import FhirClient, FhirFailure, Resource, problems_in, send

_LATER = frozenset({0, 401, 408, 425, 429, 502})
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
MOST_WORDS = 300


class TryLater(Exception):
    """It did not work now; the text says why."""


class RefusedThere(Exception):
    """The record system does not take it; the text gives its reasons."""


async def post_once(ehr: FhirClient, resource: Resource, patient: str, *, again: bool) -> str:
    """Store the resource, and say as what (`Type/id`). With `again`, an earlier try may have
    stored it: it is looked for first, where searching is allowed. If-None-Exist keeps a server
    that knows it from storing a second one."""
    (identifier,) = resource["identifier"]
    term = f"{identifier['system']}|{identifier['value']}"
    type_ = resource["resourceType"]
    if again and (known := await _find(ehr, type_, term, patient)):
        return known
    # The header holds what would follow the "?" of a URL.
    condition = f"identifier={quote(term, safe='')}"
    headers = {"if-none-exist": condition, "prefer": "return=representation"}
    try:
        answer = await send(ehr, resource, headers)
    except FhirFailure as failure:
        raise _as_reason(type_, failure) from failure
    if answer.status_code not in {200, 201}:
        raise _as_reason(type_, FhirFailure(answer.status_code, problems_in(answer)))
    stored = _stored_as(type_, answer) or await _find(ehr, type_, term, patient)
    if stored is None:
        raise RefusedThere(f"{type_}: the answer does not say where it was stored")
    return stored


async def _find(ehr: FhirClient, type_: str, term: str, patient: str) -> str | None:
    try:
        found = await ehr.search(type_, {"patient": patient, "identifier": term})
        # A server that ignores the parameter would answer with anything.
        for each in found:
            if any(f"{i.get('system')}|{i.get('value')}" == term for i in each["identifier"]):
                return f"{type_}/{each['id']}"
    except (FhirFailure, KeyError, TypeError, AttributeError):
        return None
    return None


def _stored_as(type_: str, answer: httpx.Response) -> str | None:
    segments = answer.headers.get("location", "").partition("/_history/")[0].split("/")
    if len(segments) >= 2 and segments[-2] == type_ and _ID.fullmatch(segments[-1]):
        return f"{type_}/{segments[-1]}"
    try:
        stored = answer.json()
        id_ = stored["id"] if stored["resourceType"] == type_ else None
    except (ValueError, KeyError, TypeError):
        return None
    return f"{type_}/{id_}" if isinstance(id_, str) and _ID.fullmatch(id_) else None


def _as_reason(type_: str, failure: FhirFailure) -> Exception:
    words = "; ".join(text for text, _where in failure.problems)
    told = f"{type_}: {failure.status or 'no answer'} {words}"[:MOST_WORDS].strip()
    is_passing = failure.status in _LATER or failure.status >= 500
    return TryLater(told) if is_passing else RefusedThere(told)
