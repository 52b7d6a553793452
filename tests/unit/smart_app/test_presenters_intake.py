"""Intake and registration forms: two bands of plausibility, ages, partial dates."""

from datetime import date

import pytest

from smart_app.presenters.intake import intake_view
from smart_app.presenters.registration import new_patient, read_registration

TODAY = date(2026, 11, 22)


def fields_with_problems(fields):
    return {problem.field for problem in intake_view(fields, today=TODAY).problems}


def test_an_empty_form_is_fine_and_says_nothing():
    view = intake_view({}, today=TODAY)
    assert view.problems == ()
    assert not view.says_something
    assert view.measured == {}


def test_numbers_keep_the_precision_they_were_typed_with():
    view = intake_view({"temperature": "39,2", "weight": "62"}, today=TODAY)
    assert view.measured == {"temperature": 39.2, "weight": 62}
    assert isinstance(view.measured["weight"], int)


@pytest.mark.parametrize("typed", ["abc", "12345", "1e3", "-4", "39.222", "٣٩", " 3 9"])
def test_what_is_no_plain_number_is_a_problem(typed):
    assert fields_with_problems({"temperature": typed}) == {"temperature"}


@pytest.mark.parametrize(
    ("typed", "confirmed", "is_fine"),
    [
        ("41", "", True),
        ("41.1", "", False),
        ("41.1", "41.1", True),
        ("41.2", "41.1", False),
        ("46", "46", True),
        ("46.1", "46.1", False),
    ],
)
def test_unusual_values_need_their_own_confirmation(typed, confirmed, is_fine):
    fields = {"temperature": typed, "confirm_temperature": confirmed}
    assert (fields_with_problems(fields) == set()) is is_fine


def test_the_pressures_are_compared():
    assert fields_with_problems({"systolic": "80", "diastolic": "90"}) == {"systolic"}
    assert fields_with_problems({"systolic": "120", "diastolic": "80"}) == set()


@pytest.mark.parametrize(
    ("weight", "height", "born", "is_fine"),
    [
        ("65", "170", "1990", True),
        ("170", "65", "1990", False),  # swapped
        ("170", "65", None, False),
        ("200", "142", "1990", True),
        ("62", "", "1990", True),
        ("9.5", "75", "2025-11-22", True),
        ("9.5", "175", "2025-11-22", False),
        ("", "175", "2025-11-22", False),
        ("95", "", "2025-11-22", False),
        ("40", "", "2021-11-22", True),
        ("80", "", "2021-11-22", False),
        ("80", "", "2021", False),
        ("9.5", "", "2026", True),  # may be ten months old
        ("50", "160", "2012-11-21", True),  # older than fourteen: no child's chart
        ("80", "", "2027", True),  # a birth date in the future gives no age
    ],
)
def test_sizes_that_fit_nobody_are_asked_about(weight, height, born, is_fine):
    fields = {"weight": weight, "height": height}
    asked = intake_view(fields, today=TODAY, born=born)
    assert ({problem.field for problem in asked.problems} == set()) is is_fine
    assert bool(asked.size.confirm) is not is_fine


def test_the_question_about_sizes_is_answered_for_these_very_values():
    fields = {"weight": "170", "height": "65"}
    asked = intake_view(fields, today=TODAY, born="1990").size
    assert "Swapped?" in asked.problem
    confirmed = {**fields, "confirm_size": asked.token}

    view = intake_view(confirmed, today=TODAY, born="1990")

    assert (view.problems, view.measured) == ((), {"weight": 170, "height": 65})
    others = {**confirmed, "weight": "171"}
    assert [p.field for p in intake_view(others, today=TODAY, born="1990").problems] == ["size"]


@pytest.mark.parametrize(
    ("onset", "is_fine"),
    [("2026-11-22", True), ("2026-11-23", False), ("22.11.2026", False), ("2026-11", False)],
)
def test_the_onset_is_a_past_date(onset, is_fine):
    assert (fields_with_problems({"onset": onset}) == set()) is is_fine


def test_not_asked_is_neither_yes_nor_no_and_a_yes_among_danger_signs_is_named():
    view = intake_view({"fever": "no", "convulsions": "yes", "cough": "perhaps"}, today=TODAY)
    assert view.answers == {"fever": "no", "convulsions": "yes"}
    assert view.dangers == ("Convulsions",)


def test_history_is_told_as_far_as_it_was_asked():
    view = intake_view({"travel": "yes", "pregnancy": "no", "prophylaxis": "x"}, today=TODAY)
    assert view.told == {"travel": "yes", "pregnancy": "no"}
    assert view.answers == {}


@pytest.mark.parametrize(
    ("first", "last", "problems"),
    [
        ("2026-11-01", "2026-11-10", set()),
        ("2026-11-01", "", set()),
        ("", "2026-11-10", set()),
        ("2026-11-10", "2026-11-01", {"travel-until"}),
        ("2026-11-23", "", {"travel-from"}),
        ("1 November", "2026-11-10", {"travel-from"}),
    ],
)
def test_travel_is_two_past_days_in_order(first, last, problems):
    fields = {"travel-from": first, "travel-until": last}
    assert fields_with_problems(fields) == problems
    told = {name: day for name, day in fields.items() if day and name not in problems}
    assert intake_view(fields, today=TODAY).travel_days == told


def registered(**fields):
    whole = {"family": "Mwangi", "given": "Grace", "sex": "female", **fields}
    return read_registration(whole, today=TODAY)


@pytest.mark.parametrize(
    ("fields", "birth_date"),
    [
        ({"birth_d": "27", "birth_m": "3", "birth_y": "1998"}, "1998-03-27"),
        ({"age": "31"}, "1995"),
        ({"age": "14", "age_unit": "months"}, "2025-09"),
        ({"age": "0"}, "2026"),
    ],
)
def test_a_birth_date_or_an_age_gives_a_fhir_date(fields, birth_date):
    registration = registered(**fields)
    assert registration.problems == ()
    assert registration.birth_date == birth_date


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "birth_d"),
        ({"birth_d": "30", "birth_m": "2", "birth_y": "1998"}, "birth_d"),
        ({"birth_d": "23", "birth_m": "11", "birth_y": "2026"}, "birth_d"),
        ({"birth_d": "1", "birth_m": "1", "birth_y": "1890"}, "birth_y"),
        ({"age": "126"}, "age"),
        ({"age": "25", "age_unit": "months"}, "age"),
        ({"age": "3", "sex": "robot"}, "sex-female"),
        ({"age": "3", "family": "", "given": ""}, "family"),
    ],
)
def test_what_can_not_be_stored_is_named(fields, problem):
    assert [p.field for p in registered(**fields).problems] == [problem]


def test_a_new_patient_can_be_found_again_by_its_form():
    patient = new_patient(registered(age="31", number="C-7"), "form-1234")
    assert [i["value"] for i in patient["identifier"]] == ["C-7", "form-1234"]
    assert patient["name"] == [{"use": "official", "family": "Mwangi", "given": ["Grace"]}]
