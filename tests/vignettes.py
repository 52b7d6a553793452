"""The vignettes of tests/samples/vignettes: synthetic patients with what must be said of them.

Each goes the whole way: intake → FHIR resources → facts. Nothing in them is taken from a chart.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fhir_server.fhir.assessment import (
    LOINC,
    TRAVEL_DATES,
    VITAL_SIGNS,
    Intake,
    Parties,
    submission,
)
from models.symptoms.chart import read_facts
from models.symptoms.facts import SymptomFacts

FOLDER = Path(__file__).parent / "samples" / "vignettes"
TODAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
_DAYS_A_YEAR = 365.2425


@dataclass(frozen=True)
class Vignette:
    """One patient, and what the rules must and must not say. Names left out of both `fires` and
    `never` may go either way; the danger signs are exactly those given."""

    id: str
    about: str
    urgency: str
    age_years: float | None = None
    age_months: float | None = None
    age_days: float | None = None
    sex: str | None = None
    vitals: Mapping[str, float] = field(default_factory=dict)
    quantities: tuple[tuple[str, float, str], ...] = ()
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    history: Mapping[str, str] = field(default_factory=dict)
    arrived_days_ago: int | None = None
    left_days_ago: int | None = None
    days_ill: int | None = None
    text: str = ""
    danger_signs: tuple[str, ...] = ()
    fires: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    differential: tuple[str, ...] = ()
    no_differential: tuple[str, ...] = ()
    against: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    clarify: bool = False

    @property
    def facts(self) -> SymptomFacts:
        """As the worker reads them from the resources of a submission."""
        bundle = submission(self._intake(), Parties("Patient/1"), iter(range(100)).__next__)
        resources = [entry["resource"] for entry in bundle["entry"]]
        observations = [r for r in resources if r["resourceType"] == "Observation"]
        observations += [_quantity(*each) for each in self.quantities]
        answers = [r for r in resources if r["resourceType"] == "QuestionnaireResponse"]
        patient = {"resourceType": "Patient", **({"gender": self.sex} if self.sex else {})}
        return read_facts(patient, observations, answers, TODAY)

    def _intake(self) -> Intake:
        days = (self.arrived_days_ago, self.left_days_ago)
        return Intake(
            NOW,
            vitals=self.vitals,
            age_years=self._age(),
            symptoms=dict.fromkeys(self.yes, "yes") | dict.fromkeys(self.no, "no"),
            symptoms_text=self.text,
            onset=None if self.days_ill is None else _days_ago(self.days_ill),
            history=self.history,
            travel={
                which: _days_ago(ago)
                for which, ago in zip(TRAVEL_DATES, days, strict=True)
                if ago is not None
            },
        )

    def _age(self) -> float | None:
        if self.age_days is not None:
            return self.age_days / _DAYS_A_YEAR
        return self.age_years if self.age_months is None else self.age_months / 12


@cache
def vignettes() -> dict[str, Vignette]:
    """All of them, by id. ValueError when an id is given twice."""
    found: dict[str, Vignette] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        for each in tomllib.loads(path.read_text("utf-8"))["vignette"]:
            if each["id"] in found:
                raise ValueError(f"{path.name}: {each['id']} is there already")
            found[each["id"]] = Vignette(**{name: _frozen(each[name]) for name in each})
    return found


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(each) for each in value)
    if isinstance(value, dict):
        return {name: _frozen(each) for name, each in value.items()}
    return value


def _days_ago(days: int) -> str:
    return (TODAY - timedelta(days)).isoformat()


def _quantity(vital: str, value: float, unit: str) -> dict[str, Any]:
    """A value as another system may have written it."""
    return {
        "resourceType": "Observation",
        "code": {"coding": [{"system": LOINC, "code": VITAL_SIGNS[vital].loinc}]},
        "valueQuantity": {"value": value, "code": unit},
    }
