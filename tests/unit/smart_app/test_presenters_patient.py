"""The patient banner: identity in words that can't be misread, absence never shown as none."""

from datetime import date

import pytest

from smart_app.presenters.patient import allergy_zone, banner
from smart_app.presenters.times import show_age, show_date, show_time
from smart_app.sections import Section

TODAY = date(2026, 11, 22)
NOTHING = Section("empty")


@pytest.mark.parametrize(
    ("born", "shown"),
    [
        ("2026-11-20", "2 days"),
        ("2026-11-21", "1 day"),
        ("2026-10-21", "1 month"),
        ("2025-01-23", "21 months"),
        ("2024-11-23", "23 months"),
        ("2024-11-22", "2 y"),
        ("1990-11-23", "35 y"),
        ("1990", "about 36 y"),
        (None, "age not known"),
    ],
)
def test_ages_are_in_days_months_or_years(born, shown):
    assert show_age(born, TODAY) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1945-07-14", "14-Jul-1945"), ("1945-07", "Jul-1945"), ("1945", "1945"), ("", "Not known")],
)
def test_dates_are_unambiguous_at_any_precision(value, shown):
    assert show_date(value) == shown


def test_times_name_their_zone():
    assert show_time("2026-11-22T12:21:00+03:00") == "22-Nov-2026 09:21 UTC"


@pytest.mark.parametrize(
    ("section", "text", "known", "loaded"),
    [
        (Section("empty"), "No allergy information recorded", False, True),
        (Section("forbidden"), "Not permitted to see allergies", False, False),
        (Section("failed"), "Allergies could not be loaded", False, False),
    ],
)
def test_missing_allergies_are_not_no_allergies(section, text, known, loaded):
    zone = allergy_zone(section)
    assert (zone.text, zone.known, zone.loaded) == (text, known, loaded)


def allergy(text, code=None, clinical="active", recorded="2026-03-03"):
    coding = [{"system": "http://snomed.info/sct", "code": code}] if code else []
    status = {"coding": [{"code": clinical}]}
    concept = {"text": text, "coding": coding}
    return {"code": concept, "clinicalStatus": status, "recordedDate": recorded}


def test_asserted_absence_has_its_date():
    zone = allergy_zone(Section("loaded", (allergy("No known allergy", "716186003"),)))
    assert zone.text == "No known allergies (recorded 03-Mar-2026)"
    assert zone.known
    assert zone.names == ()


def test_active_allergies_outweigh_an_old_denial_and_resolved_ones_are_left_out():
    found = (
        allergy("No known allergy", "716186003"),
        allergy("Penicillin"),
        allergy("Latex", clinical="resolved"),
    )
    assert allergy_zone(Section("loaded", found)).names == ("Penicillin",)


def test_an_empty_patient_has_a_banner_all_the_same():
    shown = banner({"resourceType": "Patient", "id": "p"}, NOTHING, NOTHING, today=TODAY)
    assert shown.name == "Name not known"
    assert shown.born == "Not known"
    assert shown.identifier == "No identifier recorded"
    assert shown.weight == "Not recorded"


def test_weight_is_shown_with_unit_and_date_and_the_dead_are_flagged():
    weight = {
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "effectiveDateTime": "2026-11-01",
        "valueQuantity": {"value": 62, "unit": "kg"},
    }
    patient = {"id": "p", "name": [{"family": "Ba", "given": ["A", "B"]}], "deceasedBoolean": True}
    shown = banner(patient, NOTHING, Section("loaded", (weight,)), today=TODAY)
    assert shown.weight == "62 kg (01-Nov-2026)"
    assert shown.name == "BA, A B"
    assert shown.flags == ("Deceased",)


def test_a_weight_that_was_entered_in_error_is_not_shown_as_the_weight():
    def weight(kilograms, status, day):
        return {
            "status": status,
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "effectiveDateTime": day,
            "valueQuantity": {"value": kilograms, "unit": "kg"},
        }

    wrong, right = weight(98, "entered-in-error", "2026-11-20"), weight(9.8, "final", "2026-11-01")
    patient = {"resourceType": "Patient", "id": "p"}
    shown = banner(patient, NOTHING, Section("loaded", (wrong, right)), today=TODAY)
    assert shown.weight == "9.8 kg (01-Nov-2026)"
    alone = banner(patient, NOTHING, Section("loaded", (wrong,)), today=TODAY)
    assert alone.weight == "Not recorded"
