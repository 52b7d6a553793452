"""Thirty searches that applications ask for, about random patients: looking up by code and
date, sorting, counting, chains, reverse chains, includes, and words of a text."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

_LOINC = "http://loinc.org"
Shape = Callable[[str], str]
"""A patient's id in, the search below the base out."""

SHAPES: Mapping[str, Shape] = {
    "by id": lambda id_: f"Patient?_id={id_}",
    "name begins": lambda _: "Patient?family=Sch&_count=20",
    "name contains": lambda _: "Patient?family:contains=son&_count=20",
    "name exactly": lambda _: "Patient?given:exact=Maria&_count=20",
    "born since and sex": lambda _: "Patient?birthdate=ge1980&gender=female&_count=20",
    "born in a year, sorted": lambda _: "Patient?birthdate=ge1960&_sort=family&_count=10",
    "by city": lambda _: "Patient?address-city=Boston&_count=20",
    "chart": lambda id_: f"Observation?patient={id_}&_count=20",
    "chart by code": lambda id_: f"Observation?patient={id_}&code={_LOINC}|8302-2",
    "chart, latest first": lambda id_: f"Observation?patient={id_}&_sort=-date&_count=10",
    "chart by category": lambda id_: f"Observation?patient={id_}&category=vital-signs&_count=20",
    "chart by two codes": lambda id_: (
        f"Observation?patient={id_}&code={_LOINC}|29463-7,{_LOINC}|8302-2&_count=20"
    ),
    "chart since": lambda id_: f"Observation?patient={id_}&date=ge2018&_count=20",
    "chart counted": lambda id_: f"Observation?patient={id_}&_summary=count",
    "value above": lambda _: f"Observation?code={_LOINC}|29463-7&value-quantity=gt90&_count=20",
    "value with unit": lambda _: (
        "Observation?value-quantity=gt180|http://unitsofmeasure.org|cm&_count=20"
    ),
    "code and value": lambda _: f"Observation?code-value-quantity={_LOINC}|8302-2$gt170&_count=20",
    "component": lambda _: (
        f"Observation?component-code-value-quantity={_LOINC}|8480-6$gt140&_count=20"
    ),
    "active conditions": lambda id_: f"Condition?patient={id_}&clinical-status=active",
    "condition by text": lambda _: "Condition?code:text=diabetes&_count=20",
    "encounters with patient": lambda id_: (
        f"Encounter?patient={id_}&date=ge2015-01-01&_include=Encounter:subject"
    ),
    "prescriptions": lambda id_: f"MedicationRequest?patient={id_}&status=active&_count=20",
    "claims since": lambda id_: f"Claim?patient={id_}&created=ge2019&_count=10",
    "patient and vaccinations": lambda id_: f"Patient?_id={id_}&_revinclude=Immunization:patient",
    "chain": lambda _: "Observation?subject:Patient.family=Sch&_count=10",
    "chain of two": lambda _: "Observation?encounter.participant.name=A&_count=10",
    "has": lambda _: f"Patient?_has:Observation:patient:code={_LOINC}|72166-2&_count=10",
    "missing": lambda _: "Patient?deceased:missing=false&_count=10",
    "words of the narrative": lambda _: "Patient?_text=Synthea&_count=10",
    "words anywhere": lambda _: "Condition?_content=hypertension&_count=10",
}


def searches(patients: Sequence[str], random: Random, rounds: int) -> list[str]:
    """Every shape `rounds` times, each about a random one of the patients, in turn."""
    return [shape(random.choice(patients)) for _ in range(rounds) for shape in SHAPES.values()]
