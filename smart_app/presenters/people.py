"""One patient as a line of a search result."""

from dataclasses import dataclass
from datetime import date

from smart_app.fhir_client import Resource
from smart_app.presenters.patient import banner
from smart_app.sections import Section


@dataclass(frozen=True)
class PersonLine:
    """What tells two people of the same name apart."""

    id: str
    name: str
    born: str
    age: str
    sex: str
    identifier: str


def person_line(patient: Resource, today: date) -> PersonLine:
    """The line of one Patient."""
    nothing: Section[Resource] = Section("empty")
    shown = banner(patient, nothing, nothing, today=today)
    return PersonLine(shown.id, shown.name, shown.born, shown.age, shown.sex, shown.identifier)
