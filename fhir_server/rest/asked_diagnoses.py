"""How many analyses a request asks for: each is a Task of that code that is `requested`.

One that is written as `in-progress` is analysed too, once its lease runs out, so it counts as well.
Only the worker's claim does not: an update under If-Match by the client of the analysis itself.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from fhir_server.fhir.assessment import ASSESSMENT
from fhir_server.interactions.context import FhirRequest
from fhir_server.security.actors import ANALYSING
from fhir_server.security.principal import Principal

_ASKING = frozenset({"requested", "in-progress"})
_BUNDLES = frozenset({"transaction", "batch"})
_WRITES = frozenset({"create", "update", "patch"})


def asked_diagnoses(request: FhirRequest, caller: Principal) -> int:
    """The number; 0 for a body that can't be read, which is refused elsewhere. A patch of a Task
    counts as one where it may set such a status."""
    if request.interaction in _BUNDLES:
        return sum(map(_is_asking_entry, _entries(request.body)))
    if request.type != "Task" or request.interaction not in _WRITES:
        return 0
    if request.interaction == "patch":
        return int(_may_request(request.body))
    task = _read(request.body)
    is_claim = request.interaction == "update" and request.if_match is not None
    if is_claim and task.get("status") == "in-progress" and _is_of_the_analysis(caller):
        return 0
    return int(_is_asking(task))


def _is_of_the_analysis(caller: Principal) -> bool:
    return caller.acts_for_itself and caller.client_id in ANALYSING


def _entries(body: bytes) -> Iterator[dict[str, Any]]:
    # Most bundles have no Task, and are not read twice. An escape may hide one.
    if b"Task" not in body and b"\\u" not in body:
        return
    entries = _read(body).get("entry")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield entry


def _is_asking_entry(entry: dict[str, Any]) -> bool:
    request = entry.get("request")
    asked = request if isinstance(request, dict) else {}
    if asked.get("method") == "PATCH":
        return str(asked.get("url")).lstrip("/").startswith("Task")
    return asked.get("method") in ("POST", "PUT") and _is_asking(entry.get("resource"))


def _is_asking(resource: object) -> bool:
    if not isinstance(resource, dict) or resource.get("resourceType") != "Task":
        return False
    code = resource.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    codes = [each.get("code") for each in codings or () if isinstance(each, dict)]
    return resource.get("status") in _ASKING and ASSESSMENT["code"] in codes


def _may_request(patch: bytes) -> bool:
    return any(status.encode() in patch for status in _ASKING) or b"\\u" in patch


def _read(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
