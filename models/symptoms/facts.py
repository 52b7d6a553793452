"""What is known about one patient's illness, typed; the only input of a symptom analysis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

Answer = Literal["yes", "no"]
Sex = Literal["male", "female"]


@dataclass(frozen=True)
class SymptomFacts:
    """`vitals` is keyed as `VITAL_SIGNS` of the assessment, in the units given there. `symptoms`
    holds what was asked and answered; what is absent was not asked. `text` is the clinician's own
    words. None means unknown, never "no"."""

    observed: date
    age_years: float | None = None
    sex: Sex | None = None
    is_pregnant: bool | None = None
    vitals: Mapping[str, float] = field(default_factory=dict)
    symptoms: Mapping[str, Answer] = field(default_factory=dict)
    text: str = ""
    onset: date | None = None
    identifiers: tuple[str, ...] = ()

    @property
    def bmi(self) -> float | None:
        """Body mass index in kg/m², when weight and height are known."""
        weight, height = self.vitals.get("weight"), self.vitals.get("height")
        if weight is None or not height:
            return None
        return weight / (height / 100) ** 2

    @property
    def days_ill(self) -> int | None:
        """Whole days since the onset; None when unknown or in the future."""
        if self.onset is None or self.onset > self.observed:
            return None
        return (self.observed - self.onset).days
