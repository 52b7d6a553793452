"""The FHIR shape of what the watch over the models measures, shared by who measures and who shows.

A MeasureReport (R4, type summary) of one Measure: a group for each figure, its value as
`measureScore`, how many cases stand behind it as populations, and how it is judged in the
extension `judgement` (verdict, limit, low, high).
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.assessment import CANONICAL

Resource = dict[str, Any]

DRIFT = f"{CANONICAL}/Measure/ai-drift"
TRAINING_SET = f"{CANONICAL}/Measure/training-set"
"""The Measure of how far the candidate training set is."""
TRAINING_SETS = f"{CANONICAL}/identifier/training-set"
MONITORING = f"{CANONICAL}/CodeSystem/model-monitoring"
JUDGEMENT = f"{CANONICAL}/StructureDefinition/judgement"
POPULATIONS = "http://terminology.hl7.org/CodeSystem/measure-population"
UNNAMED = "unnamed-site"
"""In keys, in the place of a site that no Task, Encounter or Location names."""
TOO_FEW, ENOUGH = "too-few", "enough"


def judgement(verdict: str, **numbers: float | None) -> Resource:
    """The extension that says how a figure was judged: limit, low and high, where they are."""
    parts: list[Resource] = [{"url": "verdict", "valueCode": verdict}]
    parts += [
        {"url": name, "valueDecimal": round(value, 6)}
        for name, value in numbers.items()
        if value is not None
    ]
    return {"url": JUDGEMENT, "extension": parts}


def judgement_of(group: Resource) -> Mapping[str, Any]:
    """What a group says of its judgement: `verdict`, and the numbers that are there."""
    found = (e for e in group.get("extension", ()) if e.get("url") == JUDGEMENT)
    parts = next((each.get("extension", ()) for each in found), ())
    values = {part["url"]: part.get("valueCode", part.get("valueDecimal")) for part in parts}
    return {name: value for name, value in values.items() if value is not None}


def populations_of(group: Resource) -> Mapping[str, int]:
    """How many cases a group counts, by population."""
    return {
        str(population["code"]["coding"][0]["code"]): int(population.get("count", 0))
        for population in group.get("population", ())
    }


def population(code: str, count: int) -> Resource:
    """One population of a group."""
    return {"code": {"coding": [{"system": POPULATIONS, "code": code}]}, "count": count}
