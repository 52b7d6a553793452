"""Chart resources become typed facts; what is unknown stays unknown."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhir.assessment import Intake, Parties, submission
from models.symptoms.chart import read_facts

TODAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def chart(intake: Intake, patient: dict[str, Any] | None = None) -> Any:
    bundle = submission(intake, Parties("Patient/1"), iter(range(100)).__next__)
    resources = [entry["resource"] for entry in bundle["entry"]]
    return read_facts(
        {"resourceType": "Patient", "id": "1", **(patient or {})},
        [r for r in resources if r["resourceType"] == "Observation"],
        [r for r in resources if r["resourceType"] == "QuestionnaireResponse"],
        TODAY,
    )


def test_an_intake_comes_back_as_it_was_entered() -> None:
    vitals = {"temperature": 38.5, "systolic": 110.0, "diastolic": 70.0, "weight": 60.0}
    facts = chart(
        Intake(
            NOW,
            vitals=vitals,
            symptoms={"fever": "yes", "cough": "no"},
            symptoms_text="no rash",
            onset="2026-11-20",
            age_years=0.5,
        )
    )

    assert facts.vitals == vitals
    assert facts.symptoms == {"fever": "yes", "cough": "no"}
    assert facts.text == "no rash"
    assert facts.days_ill == 4
    assert facts.age_years == 0.5


@pytest.mark.parametrize(
    ("birth_date", "age"), [("1996-11-24", 30), ("1996-05", 30.5), ("1996", 30.4), (None, None)]
)
def test_the_age_comes_from_the_birth_date_as_far_as_it_is_known(
    birth_date: str | None, age: float | None
) -> None:
    facts = chart(Intake(NOW), {"birthDate": birth_date} if birth_date else None)

    assert facts.age_years == (None if age is None else pytest.approx(age, abs=0.05))


def test_a_birth_date_beats_a_stated_age() -> None:
    assert chart(Intake(NOW, age_years=99), {"birthDate": "2016-11-24"}).age_years < 11


def quantity(loinc: str, value: float, unit: str | None) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]},
        "valueQuantity": {"value": Decimal(str(value)), **({"code": unit} if unit else {})},
    }


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "vital", "agreed"),
    [
        ("8310-5", 101.3, "[degF]", "temperature", 38.5),
        ("29463-7", 3200, "g", "weight", 3.2),
        ("29463-7", 22, "[lb_av]", "weight", 9.98),
        ("8302-2", 1.7, "m", "height", 170),
        ("8302-2", 70, "[in_i]", "height", 177.8),
        ("718-7", 65, "g/L", "hemoglobin", 6.5),
    ],
)
def test_a_value_in_a_known_other_unit_is_converted_and_this_is_told(
    loinc: str, value: float, unit: str, vital: str, agreed: float
) -> None:
    facts = read_facts({}, [quantity(loinc, value, unit)], [], TODAY)

    assert facts.vitals == {vital: agreed}
    assert f"read as {agreed:g}" in facts.remarks[0]


@pytest.mark.parametrize(
    ("value", "unit", "reason"),
    [
        (311.6, "K", "the unit is not known"),
        (38.5, None, "without a unit"),
        (101.3, "Cel", "no patient can have it"),
        (38.5, "[degF]", "no patient can have it"),
    ],
)
def test_a_value_that_can_not_be_used_is_left_out_by_name(
    value: float, unit: str | None, reason: str
) -> None:
    facts = read_facts({}, [quantity("8310-5", value, unit)], [], TODAY)

    assert facts.vitals == {}
    assert reason in facts.remarks[0]


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "vital"),
    [
        ("8867-4", 88, "{beats}/min", "heart_rate"),
        ("8867-4", 88, "1/min", "heart_rate"),
        ("9279-1", 18, "{breaths}/min", "respiratory_rate"),
        ("59408-5", 97, "%{oxygen}", "oxygen_saturation"),
        ("8480-6", 118, "mmHg", "systolic"),
        ("8480-6", 118, "mm Hg", "systolic"),
        ("8462-4", 76, "mm[Hg]{sitting}", "diastolic"),
        ("29463-7", 61, "kg{dressed}", "weight"),
        ("718-7", 4.8, "g/dl", "hemoglobin"),
        ("8867-4", 88, "min-1", "heart_rate"),
        ("8867-4", 88, "{beats}.min-1", "heart_rate"),
    ],
)
def test_another_spelling_of_the_agreed_unit_is_taken_over(
    loinc: str, value: float, unit: str, vital: str
) -> None:
    facts = read_facts({}, [quantity(loinc, value, unit)], [], TODAY)

    assert (facts.vitals, facts.remarks) == ({vital: value}, ())


@pytest.mark.parametrize(
    ("loinc", "unit"),
    [
        ("8480-6", "mm{Hg}"),
        ("8310-5", "{Cel}"),
        ("29463-7", "k{dry}g"),
        ("8867-4", "/min{"),
        ("8867-4", "{beats}"),
        ("8867-4", "beats/min"),
        ("8867-4", "/{per}"),
    ],
)
def test_an_annotation_makes_no_unit(loinc: str, unit: str) -> None:
    facts = read_facts({}, [quantity(loinc, 40, unit)], [], TODAY)

    assert facts.vitals == {}
    assert f"of 40 {unit}: left out, the unit is not known" in facts.remarks[0]


def test_history_and_travel_come_back_as_they_were_entered() -> None:
    facts = chart(
        Intake(
            NOW,
            history={"pregnancy": "yes", "travel": "yes", "prophylaxis": "no"},
            travel={"travel-from": "2026-11-01", "travel-until": "2026-11-14"},
            onset="2026-11-20",
        )
    )

    assert facts.is_pregnant is True
    assert facts.history["prophylaxis"] == "no"
    assert (facts.days_since_travel, facts.days_from_arrival) == (10, 19)
    assert chart(Intake(NOW, history={"pregnancy": "no"})).is_pregnant is False
    assert chart(Intake(NOW, symptoms={"fever": "yes"})).is_pregnant is None


def test_of_two_values_of_one_sign_the_last_counts_and_this_is_said() -> None:
    twice = [quantity("8310-5", 40.5, "Cel"), quantity("8310-5", 37.0, "Cel")]
    facts = read_facts({"resourceType": "Patient"}, twice, [], TODAY)

    assert facts.vitals == {"temperature": 37.0}
    (remark,) = facts.remarks
    assert "40.5 °C" in remark
    assert "another value" in remark


def test_everything_that_names_the_patient_is_known_for_redaction() -> None:
    patient = {
        "name": [{"text": "Ada B. Lovelace", "family": "Lovelace", "given": ["Ada"]}],
        "identifier": [{"value": "MRN-1"}],
        "telecom": [{"value": "555-1234"}],
        "address": [{"line": ["1 Lake View"], "city": "Kisumu", "district": "Nyanza"}],
        "contact": [{"name": {"family": "Achieng-Núñez"}}],
    }

    known = set(chart(Intake(NOW), patient).identifiers)
    assert {"Ada", "Lovelace", "MRN-1", "555-1234", "1 Lake View", "Kisumu", "Nyanza"} <= known
    assert {"Achieng", "Núñez", "Nunez"} <= known
