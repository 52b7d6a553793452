"""A report on its way to the record system: a Task on our own server, so that a restart loses
nothing. Pure: each function takes a Task and gives the next.

requested (waits) → in-progress (is being sent) → completed (sent) | failed (refused).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fhir_server.fhir.assessment import CANONICAL, TASK_CODES, TASK_PARTS, part_type
from smart_app.fhir_client import Resource
from smart_app.launch.own_scopes import SENDING
from smart_app.sessions import Origin
from smart_app.signing import Signer

SENDING_OF = f"{CANONICAL}/identifier/sending-of-report"
ATTEMPT = f"{CANONICAL}/StructureDefinition/attempt"
ISSUER, PATIENT, ENCOUNTER, AUTHOR, TYPE = "issuer", "patient", "encounter", "author", "type"
SENT = "sent"
LEASE = timedelta(minutes=3)
DELAYS_SECONDS = (0, 30, 120, 600, 1800, 3600)
MOST_ATTEMPTS = 120
"""About five days of hourly tries."""


@dataclass(frozen=True)
class Job:
    """What a Task says: where to, whose chart there, what, and what is stored there already
    (reference here → reference there)."""

    issuer: str
    patient: str
    encounter: str | None
    author: str | None
    types: tuple[str, ...]
    sent: Mapping[str, str]


def sending_task(report: str, origin: Origin, types: Sequence[str], signer: Signer) -> Resource:
    """The Task that asks for the report with this id to be sent; its other references are added
    by `about`."""
    inputs = [
        _input(ISSUER, valueUrl=origin.fhir_base),
        _input(PATIENT, valueString=origin.patient),
    ]
    if origin.encounter is not None:
        inputs.append(_input(ENCOUNTER, valueString=origin.encounter))
    if origin.user is not None:
        inputs.append(_input(AUTHOR, valueString=origin.user))
    inputs += [_input(TYPE, valueCode=type_) for type_ in types]
    return {
        "resourceType": "Task",
        "identifier": [{"system": SENDING_OF, "value": report}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODES, "code": SENDING}]},
        "focus": {"reference": f"DiagnosticReport/{report}"},
        "authoredOn": signer.when,
        "lastModified": signer.when,
        "requester": {"reference": signer.reference, "display": signer.name},
        "input": inputs,
    }


def about(task: Resource, report: Resource) -> Resource:
    """The Task with the patient and the visit of its report."""
    more = {"encounter": report["encounter"]} if "encounter" in report else {}
    return {**task, "for": report["subject"], **more}


def job_of(task: Resource) -> Job:
    """What the Task says."""
    said: dict[str, list[str]] = {}
    for entry in task.get("input", ()):
        value = next((v for k, v in entry.items() if k.startswith("value")), "")
        said.setdefault(_part(entry), []).append(str(value))
    sent = {
        entry["valueReference"]["identifier"]["value"]: entry["valueReference"]["reference"]
        for entry in task.get("output", ())
        if _part(entry) == SENT
    }
    return Job(
        issuer=said[ISSUER][0],
        patient=said[PATIENT][0],
        encounter=next(iter(said.get(ENCOUNTER, ())), None),
        author=next(iter(said.get(AUTHOR, ())), None),
        types=tuple(said.get(TYPE, ())),
        sent=sent,
    )


def attempts(task: Resource) -> int:
    """How often sending was tried."""
    extensions = task.get("extension", ())
    return next((int(e["valueInteger"]) for e in extensions if e["url"] == ATTEMPT), 0)


def is_due(task: Resource, now: datetime) -> bool:
    """Whether it should be tried (again): it waits and its delay is over, or who tried is gone."""
    since = now - datetime.fromisoformat(task["lastModified"].replace("Z", "+00:00"))
    if task["status"] == "in-progress":
        return since >= LEASE
    delay = DELAYS_SECONDS[min(attempts(task), len(DELAYS_SECONDS) - 1)]
    return task["status"] == "requested" and since >= timedelta(seconds=delay)


def claimed(task: Resource, now: str) -> Resource:
    """Being sent, one more attempt."""
    others = [e for e in task.get("extension", ()) if e["url"] != ATTEMPT]
    count = {"url": ATTEMPT, "valueInteger": attempts(task) + 1}
    return _changed({**task, "extension": [*others, count]}, "in-progress", "", now)


def noted(task: Resource, here: str, there: str, now: str) -> Resource:
    """One resource is stored there."""
    done = {
        "type": part_type(SENT),
        "valueReference": {"reference": there, "identifier": {"value": here}},
    }
    return {**task, "output": [*task.get("output", ()), done], "lastModified": now}


def waiting(task: Resource, reason: str, now: str) -> Resource:
    """Could not be sent now; it is tried again, but not for ever."""
    if attempts(task) >= MOST_ATTEMPTS:
        return refused(task, reason, now)
    return _changed(task, "requested", reason, now)


def refused(task: Resource, reason: str, now: str) -> Resource:
    """The record system, or the registration, does not take it."""
    return _changed(task, "failed", reason, now)


def completed(task: Resource, now: str) -> Resource:
    """All is stored there."""
    return _changed(task, "completed", "", now)


def asked_again(task: Resource, now: str) -> Resource:
    """A person wants another try."""
    fresh = {**task, "extension": [e for e in task.get("extension", ()) if e["url"] != ATTEMPT]}
    if not fresh["extension"]:
        del fresh["extension"]
    return _changed(fresh, "requested", "", now)


def _changed(task: Resource, status: str, reason: str, now: str) -> Resource:
    changed = {**task, "status": status, "lastModified": now}
    changed.pop("statusReason", None)
    return {**changed, "statusReason": {"text": reason[:500]}} if reason else changed


def _input(part: str, **value: Any) -> Resource:
    return {"type": part_type(part), **value}


def _part(entry: Resource) -> str:
    codings = entry["type"].get("coding", ())
    return next((str(c["code"]) for c in codings if c.get("system") == TASK_PARTS), "")
