"""Reports, progress and prescriptions as they are shown."""

from datetime import UTC, datetime

import pytest

from fhir_server.fhir.assessment import part_type
from smart_app.prescribing import dosage_text, matching_allergy, read_prescription
from smart_app.presenters.history import report_lines
from smart_app.presenters.progress import progress
from smart_app.presenters.report import finding, report_view
from tests.app_records import MEDIA, code, report, smear_result, symptom_result

NOW = datetime(2026, 11, 22, 9, 20, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "tone"),
    [
        ("parasites-suspected", "suspected"),
        ("none-found", "none"),
        ("not-seen", "none"),
        ("indeterminate", "uncertain"),
        ("insufficient", "uncertain"),
        ("refused", "no-opinion"),
        ("a-code-of-tomorrow", "plain"),
    ],
)
def test_every_answer_has_one_state(code, tone):
    assert finding(smear_result(code, "Words")).tone == tone


def test_a_withdrawn_result_is_superseded_whatever_it_said():
    shown = finding(smear_result("none-found", "None", status="entered-in-error"))
    assert (shown.tone, shown.state) == ("superseded", "Superseded")


def test_the_state_of_an_image_result_stands_beside_its_answer():
    assert finding(smear_result("insufficient", "Too few")).state == "Uncertain"
    assert finding(symptom_result("urgent", "Today")).state == ""


def test_one_line_says_which_model_read_which_image_when_and_with_which_limit():
    result = smear_result(
        "none-found",
        "None",
        method={"text": "malaria-cell 1.2.3, mean of 8 views"},
        component=[
            {
                "code": code("image-hash", "Image read"),
                "valueString": f"sha256 {'ab12' * 16}, field",
            },
            {"code": code("threshold-high", "From"), "valueQuantity": {"value": 0.92, "unit": "1"}},
            {"code": code("arm", "Arm"), "valueString": "A"},
        ],
    )
    written = {**result, "meta": {"lastUpdated": "2026-11-22T09:21:00Z", **result["meta"]}}
    assert finding(written).trace == (
        "malaria-cell 1.2.3 · 22-Nov-2026 09:21 UTC · images sha256 ab12ab12 · "
        "threshold 0.92 · arm A"
    )


@pytest.mark.parametrize(
    ("answer", "urgency", "is_discordant"),
    [
        ("none-found", "emergency", True),
        ("not-seen", "urgent", True),
        ("none-found", "routine", False),
        ("indeterminate", "emergency", False),
        ("parasites-suspected", "emergency", False),
    ],
)
def test_nothing_found_in_someone_ill_is_discordant(answer, urgency, is_discordant):
    results = [smear_result(answer, "Words"), symptom_result(urgency, "Words")]
    view = report_view(report("smear", "symptoms"), results, [MEDIA])
    assert view.is_discordant is is_discordant


def test_a_result_without_a_value_is_no_opinion_whatever_the_reason():
    refused = smear_result("x", "y")
    del refused["valueCodeableConcept"]
    shown = finding({**refused, "dataAbsentReason": {"text": "blurred"}})
    assert shown.tone == "no-opinion"
    assert shown.value == "No AI opinion"


def test_components_that_are_not_known_are_listed_as_they_came():
    shown = finding(smear_result("none-found", "None found by model"))
    assert ("Something new", "kept") in shown.details
    assert shown.recommendations == ("Repeat the smear.",)
    assert ("Red cells read", "214") in shown.details


def test_a_report_knows_its_parts():
    results = [smear_result("none-found", "None"), symptom_result("emergency", "Act now")]
    view = report_view(report("smear", "symptoms"), results, [MEDIA])
    assert view.image_state is not None
    assert view.image_state.tone == "none"
    assert view.is_danger
    assert view.disagrees_with("parasites-seen")
    assert not view.disagrees_with("parasites-not-seen")
    assert not view.disagrees_with("cannot-tell")
    assert view.images[0].text == "Smear image 1: Smear 1, uploaded 22-Nov-2026 09:19 UTC"


def test_a_report_of_symptoms_alone_has_no_image_state():
    view = report_view(report("symptoms", media=False), [symptom_result("routine", "None")], [])
    assert view.image_state is None
    assert not view.is_danger


def task(status, **more):
    written = {
        "resourceType": "Task",
        "id": "t1",
        "meta": {"versionId": "2", "lastUpdated": "2026-11-22T09:20:02Z"},
        "status": status,
        "authoredOn": "2026-11-22T09:20:00+00:00",
    }
    return {**written, **more}


@pytest.mark.parametrize(
    ("status", "states"),
    [
        ("requested", ["done", "now", "waiting", "waiting"]),
        ("in-progress", ["done", "done", "now", "waiting"]),
        ("failed", ["done", "done", "stopped", "stopped"]),
        ("cancelled", ["done", "stopped", "stopped", "stopped"]),
    ],
)
def test_the_steps_follow_the_task(status, states):
    assert [step.state for step in progress(task(status), now=NOW).steps] == states


def test_a_completed_task_leads_to_its_report():
    output = [
        {"type": part_type("report"), "valueReference": {"reference": "DiagnosticReport/r1"}},
        {"type": part_type("refusal"), "valueReference": {"reference": "#refusal"}},
    ]
    state = progress(task("completed", output=output), now=NOW)
    assert state.report == "DiagnosticReport/r1"
    assert state.is_over
    assert state.failure == ""
    assert {step.state for step in state.steps} == {"done"}


def test_a_failed_task_says_why():
    state = progress(task("failed", statusReason={"text": "Image 1 refused (blur)"}), now=NOW)
    assert state.failure == "Image 1 refused (blur)"


def test_a_task_that_takes_long_is_called_slow():
    late = NOW.replace(minute=25)
    assert progress(task("in-progress"), now=late).is_slow
    assert not progress(task("in-progress"), now=NOW).is_slow


def test_the_history_is_newest_first():
    older = {**report(), "id": "r0", "issued": "2025-01-01T00:00:00Z"}
    assert [line.id for line in report_lines([older, report()])] == ["r1", "r0"]


MEDICINE = {
    "medicine": "Artemether-lumefantrine",
    "form": "tablet 20 mg/120 mg",
    "dose": "4,0",
    "dose_unit": "tablets",
    "frequency": "2",
    "days": "3",
    "route": "by mouth",
}


def test_a_dose_is_written_without_a_trailing_zero():
    assert dosage_text(MEDICINE) == "4 tablets by mouth, 2 times a day for 3 days"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("medicine", ""), ("form", ""), ("dose", "0"), ("dose", "four"), ("dose_unit", ""),
        ("frequency", "7"), ("days", "0"), ("days", "91"), ("route", "by ear"),
    ],
)  # fmt: skip
def test_an_incomplete_prescription_names_what_is_missing(field, value):
    fields = {**MEDICINE, field: value}
    checked = read_prescription(fields, (), allergies_loaded=True)
    assert [problem.field for problem in checked.problems] == [field]


@pytest.mark.parametrize(
    ("dose", "unit", "is_stopped"),
    [
        ("20", "tablets", False),
        ("21", "Tablets", True),
        ("9999", "caps", True),
        ("600", "mg", False),
    ],
)
def test_more_pieces_than_anybody_takes_at_once_are_a_slip(dose, unit, is_stopped):
    fields = {**MEDICINE, "dose": dose, "dose_unit": unit}
    problems = read_prescription(fields, (), allergies_loaded=True).problems
    assert [each.field for each in problems] == ["dose"] * is_stopped


def test_an_allergy_stops_a_brand_whose_substance_is_named_with_its_strength():
    fields = {**MEDICINE, "medicine": "Fansidar", "form": "tablet sulfadoxine 500 mg"}
    checked = read_prescription(fields, ("Sulfadoxine",), allergies_loaded=True)
    assert (checked.allergy, [each.field for each in checked.problems]) == (
        "Sulfadoxine",
        ["medicine"],
    )


def test_allergies_that_could_not_be_loaded_must_be_asked_about():
    unasked = read_prescription(MEDICINE, (), allergies_loaded=False)
    assert [problem.field for problem in unasked.problems] == ["asked"]
    asked = read_prescription({**MEDICINE, "asked": "yes"}, (), allergies_loaded=False)
    assert asked.problems == ()


@pytest.mark.parametrize(
    ("medicine", "allergy", "matches"),
    [
        ("Artemether-lumefantrine", "LUMEFANTRINE (rash)", True),
        ("Quinine", "Quinidine", False),
        ("Amoxicillin", "Penicillin V", False),
        ("Oral rehydration salts", "Oral contraceptive", True),
    ],
)
def test_an_allergy_matches_by_whole_words(medicine, allergy, matches):
    assert bool(matching_allergy(medicine, [allergy])) is matches
