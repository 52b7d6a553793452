"""Chart resources → SymptomFacts: what the patient's record and the intake say, typed."""

import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
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
from models.symptoms.ages import Age, from_birth_date, stated
from models.symptoms.facts import Answer, Sex, SymptomFacts
from models.symptoms.plain_words import PLAIN_WORDS
from models.symptoms.units import Reading, in_agreed_unit, replaced, with_comparator

Resource = dict[str, Any]

_VITAL_OF_CODE = {sign.loinc: name for name, sign in VITAL_SIGNS.items()}
_ANSWER_OF_CODE: Mapping[str, Answer] = {
    code: "yes" if word == "yes" else "no" for word, (code, _) in ANSWER_CODES.items()
}
_NAMES: Mapping[str, str] = {
    **{code: name for code, (name, _) in SYMPTOM_CODES.items()},
    **HISTORY_CODES,
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
    items = [item for response in answers for item in _items(response)]
    age = _age(patient.get("birthDate"), quantities, today)
    symptoms = _answers(items, SYMPTOM_CODES)
    history = _answers(items, HISTORY_CODES)
    onset = _answer(items, "onset", "valueDate")
    remarks = (
        *(each.remark for each in readings.values()),
        age.remark,
        *(f"{_NAMES[code]}: answered yes and no; yes was used." for code in _disputed(items)),
        "" if _day(onset) or not onset else f"Onset {onset}: not used, the day is not known.",
    )
    return SymptomFacts(
        observed=today,
        age_years=age.years,
        sex=_sex(patient.get("gender")),
        is_pregnant=_IS_YES.get(history.get("pregnancy")),
        vitals={name: each.value for name, each in readings.items() if each.value is not None},
        symptoms=symptoms,
        text="\n".join(_told(items, "description", "valueString")),
        onset=_day(onset),
        identifiers=tuple(_identifiers(patient)),
        history=history,
        arrived=_day(_answer(items, "travel-from", "valueDate")),
        left=_day(_answer(items, "travel-until", "valueDate")),
        remarks=tuple(filter(None, remarks)),
    )


@dataclass(frozen=True)
class _Quantity:
    """A value by its LOINC code, as it was sent."""

    code: str | None
    value: float | None
    unit: str | None
    comparator: str | None


def _readings(quantities: Iterable[_Quantity]) -> dict[str, Reading]:
    """The vital signs by name; of several values of one sign the last counts, as they came, and
    its remark says so."""
    found: dict[str, Reading] = {}
    for each in quantities:
        if each.code not in _VITAL_OF_CODE or each.value is None:
            continue
        vital = _VITAL_OF_CODE[each.code]
        reading = in_agreed_unit(vital, each.value, each.unit)
        if each.comparator is not None and reading.value is not None:
            reading = with_comparator(vital, reading, each.comparator)
        before = found.get(vital)
        if before is not None and before != reading:
            remark = " ".join(
                filter(None, (before.remark, replaced(vital, before), reading.remark))
            )
            reading = Reading(reading.value, remark)
        found[vital] = reading
    return found


def _age(birth_date: object, quantities: Iterable[_Quantity], today: date) -> Age:
    """The age of the birth date, or else the last one that was stated."""
    born = from_birth_date(birth_date, today)
    told = [
        stated(each.value, each.unit)
        for each in quantities
        if each.code == AGE["code"] and each.value is not None
    ]
    if born.years is not None or not told:
        return born
    return replace(told[-1], remark=" ".join(filter(None, (born.remark, told[-1].remark))))


def _quantity(part: Resource) -> _Quantity:
    """The quantity of an Observation or one of its components."""
    code = next(
        (c.get("code") for c in part.get("code", {}).get("coding", ()) if c.get("system") == LOINC),
        None,
    )
    quantity = part.get("valueQuantity", {})
    value = quantity.get("value")
    is_number = isinstance(value, int | float | Decimal)
    number = float(value) if is_number else None
    return _Quantity(code, number, quantity.get("code"), quantity.get("comparator"))


def _items(holder: Resource) -> Iterator[Resource]:
    """Every item, those in groups and under answers too."""
    for item in holder.get("item", ()):
        yield item
        yield from _items(item)
        for answer in item.get("answer", ()):
            yield from _items(answer)


def _answers(items: Iterable[Resource], asked: Container[str]) -> dict[str, Answer]:
    """The coded answers to the questions `asked`; one answered otherwise than yes or no counts as
    not asked. Of two answers yes stands: a danger sign is not taken back by another form."""
    found: dict[str, Answer] = {}
    for question, answer in _coded(items):
        if question in asked and found.get(question) != "yes":
            found[question] = answer
    return found


def _coded(items: Iterable[Resource]) -> Iterator[tuple[str, Answer]]:
    for item in items:
        for answer in item.get("answer", ()):
            code = _ANSWER_OF_CODE.get(answer.get("valueCoding", {}).get("code"))
            if code is not None:
                yield item.get("linkId", ""), code


def _disputed(items: Iterable[Resource]) -> list[str]:
    """The questions that were answered both ways."""
    said = set(_coded(items))
    return [code for code in _NAMES if {(code, "yes"), (code, "no")} <= said]


def _told(
    items: Iterable[Resource], link_id: str, choice: Literal["valueString", "valueDate"]
) -> list[str]:
    asked = (item for item in items if item.get("linkId") == link_id)
    answers = (answer for item in asked for answer in item.get("answer", ()))
    return [str(answer[choice]) for answer in answers if isinstance(answer.get(choice), str)]


def _answer(items: Iterable[Resource], link_id: str, choice: Literal["valueDate"]) -> str | None:
    return next(iter(_told(items, link_id, choice)), None)


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
            word.strip(",.")
            for line in address.get("line", ())
            for word in line.split()
            if word[0].isalpha() and word.strip(",.").casefold() not in PLAIN_WORDS
        )
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
