"""What is known about one patient's illness, typed; the only input of a symptom analysis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from fhir_server.fhir.body_size import bmi, is_possible_bmi

Answer = Literal["yes", "no"]
Sex = Literal["male", "female"]


@dataclass(frozen=True)
class SymptomFacts:
    """`vitals` is keyed as `VITAL_SIGNS` of the assessment, in the units given there. `symptoms`
    and `history` hold what was asked and answered; what is absent was not asked. `text` is the
    clinician's own words; `remarks` say what of the chart could not be used as it stood. None
    means unknown, never "no"."""

    observed: date
    age_years: float | None = None
    sex: Sex | None = None
    is_pregnant: bool | None = None
    vitals: Mapping[str, float] = field(default_factory=dict)
    symptoms: Mapping[str, Answer] = field(default_factory=dict)
    text: str = ""
    onset: date | None = None
    identifiers: tuple[str, ...] = ()
    history: Mapping[str, Answer] = field(default_factory=dict)
    arrived: date | None = None
    left: date | None = None
    remarks: tuple[str, ...] = ()

    @property
    def bmi(self) -> float | None:
        """Body mass index in kg/m², when weight and height are known and fit together."""
        found = self.bmi_as_given
        return found if found is not None and is_possible_bmi(found) else None

    @property
    def bmi_as_given(self) -> float | None:
        """The same, whether or not anybody can have it."""
        weight, height = self.vitals.get("weight"), self.vitals.get("height")
        if weight is None or not height:
            return None
        return bmi(weight, height)

    @property
    def days_ill(self) -> int | None:
        """Whole days since the onset; None when unknown or in the future."""
        if self.onset is None or self.onset > self.observed:
            return None
        return (self.observed - self.onset).days

    @property
    def days_since_travel(self) -> int | None:
        """Whole days since the last day in a malaria area; None when unknown or in the future."""
        if self.left is None or self.left > self.observed:
            return None
        return (self.observed - self.left).days

    @property
    def days_from_arrival(self) -> int | None:
        """Days from the first day in a malaria area to the onset; None when either is unknown or
        the onset came first."""
        if self.arrived is None or self.onset is None or self.arrived > self.onset:
            return None
        return (self.onset - self.arrived).days
