"""Ages at the limits of the rules, and what several forms say of one patient."""

from datetime import date
from typing import Any

import pytest

from models.symptoms import children, rules
from models.symptoms.ages import at
from models.symptoms.chart import read_facts
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Urgency

TODAY = date(2026, 11, 27)
Resource = dict[str, Any]


@pytest.mark.parametrize("born", [date(2000, m, d) for m in (1, 2, 3, 11) for d in (1, 28, 29)])
def test_every_birthday_completes_its_year_and_the_day_before_does_not(born: date) -> None:
    for years in (1, 2, 5, 12, 16, 18):
        is_leap = (2000 + years) % 4 == 0
        day = (
            born.replace(year=2000 + years) if born.day < 29 or born.month != 2 or is_leap else None
        )
        birthday = day or date(2000 + years, 3, 1)
        assert at(born, birthday) == years
        assert at(born, date.fromordinal(birthday.toordinal() - 1)) < years


@pytest.mark.parametrize(
    ("born", "today", "is_young"),
    [
        (date(2026, 7, 1), date(2026, 8, 31), True),  # 61 days, not yet two months
        (date(2026, 7, 1), date(2026, 9, 1), False),
        (date(2026, 1, 1), date(2026, 3, 1), False),  # 59 days, and two months
        (date(2025, 12, 31), date(2026, 2, 28), True),
        (date(2025, 12, 31), date(2026, 3, 1), False),
    ],
)
def test_two_months_are_two_months(born: date, today: date, is_young: bool) -> None:
    assert (at(born, today) < children.TWO_MONTHS) is is_young


def facts_of(
    birth_date: str | None, *observations: Resource, answers: tuple[Resource, ...] = ()
) -> SymptomFacts:
    patient = {"birthDate": birth_date} if birth_date else {}
    return read_facts(patient, observations, answers, TODAY)


@pytest.mark.parametrize("birth_date", ["2062-11-27", "2027", "2026-12", "1826-01-01"])
def test_a_birth_date_that_can_not_be_makes_no_newborn_and_no_adult(birth_date: str) -> None:
    facts = facts_of(birth_date)

    assert facts.age_years is None
    assert "Birth date" in facts.remarks[0]


def test_a_birth_date_of_this_year_without_a_day_lies_before_today_and_this_is_told() -> None:
    facts = read_facts({"birthDate": "2026"}, [], [], date(2026, 3, 1))

    assert facts.age_years == pytest.approx(1 / 12, abs=0.01)
    assert "known to the year only" in facts.remarks[0]
    assert not facts_of("2020-02-29").remarks


def quantity(code: str, value: float, unit: str, comparator: str | None = None) -> Resource:
    amount = {"value": value, "code": unit, **({"comparator": comparator} if comparator else {})}
    coding = {"system": "http://loinc.org", "code": code}
    return {"code": {"coding": [coding]}, "valueQuantity": amount}


@pytest.mark.parametrize(
    ("value", "unit", "years"),
    [(6, "mo", 0.5), (2, "wk", 14 / 365.25), (20, "d", 20 / 365.25), (30, "a", 30)],
)
def test_a_stated_age_may_be_in_months_weeks_or_days(value: float, unit: str, years: float) -> None:
    assert facts_of(None, quantity("30525-0", value, unit)).age_years == pytest.approx(years)


@pytest.mark.parametrize(("value", "unit"), [(900, "a"), (-1, "a"), (3, "kg")])
def test_a_stated_age_that_can_not_be_is_left_out_by_name(value: float, unit: str) -> None:
    facts = facts_of(None, quantity("30525-0", value, unit))

    assert facts.age_years is None
    assert "Age of" in facts.remarks[0]


def test_below_a_limit_is_below_it() -> None:
    facts = facts_of("1990-01-01", quantity("59408-5", 90, "%", "<"))

    assert "low-oxygen" in {finding.code for finding in rules.analyse(facts).findings}
    assert "< 90 %" in facts.remarks[0]


def test_vomiting_at_low_pressure_counts_as_for_adults_where_the_age_is_unknown() -> None:
    pressure = {"systolic": 85.0}
    facts = SymptomFacts(TODAY, vitals=pressure, symptoms={"vomiting": "yes"})

    assert rules.analyse(facts).urgency is Urgency.EMERGENCY


def form(answer: str, text: str = "", *, is_grouped: bool = False) -> Resource:
    items: list[Resource] = [
        {"linkId": "convulsions", "answer": [{"valueCoding": {"code": answer}}]}
    ]
    if text:
        items.append({"linkId": "description", "answer": [{"valueString": text}]})
    return {"item": [{"linkId": "signs", "item": items}] if is_grouped else items}


@pytest.mark.parametrize("answers", [("Y", "N"), ("N", "Y")])
def test_a_second_form_takes_no_danger_sign_back_and_no_words(answers: tuple[str, str]) -> None:
    first, second = (form(answer, f"said {answer}") for answer in answers)
    facts = facts_of("1990-01-01", answers=(first, second))

    assert facts.symptoms == {"convulsions": "yes"}
    assert facts.text == f"said {answers[0]}\nsaid {answers[1]}"
    assert "Convulsions: answered yes and no; yes was used." in facts.remarks


def test_an_answer_in_a_group_counts() -> None:
    facts = facts_of("1990-01-01", answers=(form("Y", is_grouped=True),))

    assert facts.symptoms == {"convulsions": "yes"}


def test_an_onset_without_a_day_is_named() -> None:
    onset = {"item": [{"linkId": "onset", "answer": [{"valueDate": "2026-10"}]}]}

    assert "Onset 2026-10: not used" in facts_of("1990-01-01", answers=(onset,)).remarks[0]
