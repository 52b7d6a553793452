"""Chart resources → SymptomFacts: what the patient's record and the intake say, typed."""

import unicodedata
from collections.abc import Container, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from fhir_server.fhir.assessment import (
    AGE,
    ANSWER_CODES,
    HISTORY_CODES,
    LOINC,
    SYMPTOM_CODES,
    VITAL_SIGNS,
)
from models.symptoms.facts import Answer, Sex, SymptomFacts
from models.symptoms.units import Reading, in_agreed_unit, replaced

Resource = dict[str, Any]

_VITAL_OF_CODE = {sign.loinc: name for name, sign in VITAL_SIGNS.items()}
_ANSWER_OF_CODE: Mapping[str, Answer] = {
    code: "yes" if word == "yes" else "no" for word, (code, _) in ANSWER_CODES.items()
}

_IS_YES: Mapping[Answer | None, bool] = {"yes": True, "no": False}


def read_facts(
    patient: Resource, observations: Iterable[Resource], answers: Iterable[Resource], today: date
) -> SymptomFacts:
    """The facts of one submission. A value in a known other unit is converted; one in an unknown
    unit, or that no living patient has, is left out; a remark says so. The birth date beats an
    age that was stated."""
    quantities = [
        _quantity(part)
        for observation in observations
        for part in (observation, *observation.get("component", ()))
    ]
    readings = _readings(quantities)
    items = [item for response in answers for item in response.get("item", ())]
    born = _age(patient.get("birthDate"), today)
    history = _answers(items, HISTORY_CODES)
    return SymptomFacts(
        observed=today,
        age_years=_stated_age(quantities) if born is None else born,
        sex=_sex(patient.get("gender")),
        is_pregnant=_IS_YES.get(history.get("pregnancy")),
        vitals={name: each.value for name, each in readings.items() if each.value is not None},
        symptoms=_answers(items, SYMPTOM_CODES),
        text=_answer(items, "description", "valueString") or "",
        onset=_day(_answer(items, "onset", "valueDate")),
        identifiers=tuple(_identifiers(patient)),
        history=history,
        arrived=_day(_answer(items, "travel-from", "valueDate")),
        left=_day(_answer(items, "travel-until", "valueDate")),
        remarks=tuple(each.remark for each in readings.values() if each.remark),
    )


_Quantity = tuple[str | None, float | None, str | None]


def _readings(quantities: Iterable[_Quantity]) -> dict[str, Reading]:
    """The vital signs by name; of several values of one sign the last counts, as they came, and
    its remark says so."""
    found: dict[str, Reading] = {}
    for code, value, unit in quantities:
        if code not in _VITAL_OF_CODE or value is None:
            continue
        vital = _VITAL_OF_CODE[code]
        reading, before = in_agreed_unit(vital, value, unit), found.get(vital)
        if before is not None and before != reading:
            remark = " ".join(
                filter(None, (before.remark, replaced(vital, before), reading.remark))
            )
            reading = Reading(reading.value, remark)
        found[vital] = reading
    return found


def _stated_age(quantities: Iterable[_Quantity]) -> float | None:
    stated: float | None = None
    for code, value, unit in quantities:
        if code == AGE["code"] and value is not None:
            stated = value if unit == "a" else None
    return stated


def _quantity(part: Resource) -> _Quantity:
    """(LOINC code, value, UCUM code) of an Observation or one of its components."""
    code = next(
        (c.get("code") for c in part.get("code", {}).get("coding", ()) if c.get("system") == LOINC),
        None,
    )
    quantity = part.get("valueQuantity", {})
    value = quantity.get("value")
    is_number = isinstance(value, int | float | Decimal)
    return code, float(value) if is_number else None, quantity.get("code")


def _answers(items: Iterable[Resource], asked: Container[str]) -> dict[str, Answer]:
    """The coded answers to the questions `asked`; one answered otherwise than yes or no counts as
    not asked."""
    found = {
        item["linkId"]: _ANSWER_OF_CODE.get(answer.get("valueCoding", {}).get("code"))
        for item in items
        for answer in item.get("answer", ())
        if item.get("linkId") in asked
    }
    return {symptom: answer for symptom, answer in found.items() if answer is not None}


def _answer(
    items: Iterable[Resource], link_id: str, choice: Literal["valueString", "valueDate"]
) -> str | None:
    asked = (item for item in items if item.get("linkId") == link_id)
    for answer in (answer for item in asked for answer in item.get("answer", ())):
        if isinstance(answer.get(choice), str):
            return str(answer[choice])
    return None


def _age(birth_date: object, today: date) -> float | None:
    """Age in years; a birth date without day or month is taken in its middle."""
    if not isinstance(birth_date, str):
        return None
    parts = [int(part) for part in birth_date.split("-")]
    year, month, day = ([*parts, 7, 1] if len(parts) == 1 else [*parts, 15])[:3]
    return max(0.0, (today - date(year, month, day)).days / 365.2425)


def _day(text: str | None) -> date | None:
    """A full date; a partial one is no onset that days can be counted from."""
    return date.fromisoformat(text) if text and len(text) == 10 else None


def _sex(gender: object) -> Sex | None:
    if gender == "male":
        return "male"
    return "female" if gender == "female" else None


def _identifiers(patient: Resource) -> Iterable[str]:
    people = [patient, *patient.get("contact", ())]
    names = [name for person in people for name in _listed(person.get("name", ()))]
    for name in names:
        for text in (name.get("text"), name.get("family"), *name.get("given", ())):
            for word in (text or "").split():
                yield from dict.fromkeys((word, *word.split("-"), *_plain(word).split("-")))
    for part in ("identifier", "telecom"):
        yield from (entry["value"] for entry in patient.get(part, ()) if entry.get("value"))
    for address in patient.get("address", ()):
        yield from address.get("line", ())
        yield from (
            address[part]
            for part in ("text", "city", "district", "postalCode")
            if address.get(part)
        )


def _listed(names: Any) -> list[Resource]:
    """A Patient has a list of names, a contact of theirs one."""
    return [names] if isinstance(names, dict) else list(names)


def _plain(word: str) -> str:
    """Without its accents, as a note in a hurry is written."""
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
