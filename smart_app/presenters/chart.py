"""Patient home: the newest value of each vital sign, and analyses that are still running."""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.fhir.assessment import LOINC
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.presenters.elements import code_in, show_concept, show_value
from smart_app.presenters.progress import ENDED
from smart_app.presenters.times import show_time


@dataclass(frozen=True)
class VitalLine:
    """The newest value of one vital sign."""

    label: str
    value: str
    when: str


@dataclass(frozen=True)
class TaskLine:
    """An analysis that has not ended."""

    id: str
    when: str
    status: str


def vital_lines(observations: Iterable[Resource]) -> tuple[VitalLine, ...]:
    """One line per kind of measurement; `observations` come newest first."""
    newest: dict[str, VitalLine] = {}
    for observation in observations:
        code = code_in(observation.get("code"), LOINC) or show_concept(observation.get("code"))
        if code not in newest:
            newest[code] = VitalLine(
                show_concept(observation.get("code")),
                _value(observation),
                show_time(observation.get("effectiveDateTime")),
            )
    return tuple(newest.values())


def open_tasks(tasks: Iterable[Resource]) -> tuple[TaskLine, ...]:
    """The analyses that are waiting or running."""
    words = {"requested": _("waiting"), "in-progress": _("in progress")}
    return tuple(
        TaskLine(
            task["id"],
            show_time(task.get("authoredOn")),
            words.get(status := str(task["status"]), status),
        )
        for task in tasks
        if task["status"] not in ENDED
    )


def _value(observation: Resource) -> str:
    components = observation.get("component", ())
    if not components:
        return show_value(observation)
    return ", ".join(f"{show_concept(c.get('code'))} {show_value(c)}" for c in components)
