"""What the models found as resources: valid R4, marked as AI, worded with care."""

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from fhir_server.fhir.assessment import REPORT_OF_TASK
from fhir_server.fhir.drawings import (
    CELL,
    DERIVED_FROM,
    DRAWINGS_OF_TASK,
    GALLERY,
    KINDS,
    drawing_of,
)
from fhir_server.validation.validate import Validator
from models.ai_systems import CONFIDENCE, DEVICE_TYPES
from models.analysis import smear_system
from models.malaria.reading import CellAnswer, SmearAnswer, SmearPrediction
from models.report import Results, Submission, failure_transaction, result_transaction
from models.smear_report import refusal_issues, smear_observation
from models.symptoms import rules
from models.symptoms.card import symptom_card, symptom_system
from models.symptoms.facts import SymptomFacts
from models.wording import CAUTION, DISCORDANT, NO_OPINION, NOT_EXCLUDED
from tests.smear_predictions import (
    CARD,
    CELL_LIMITS,
    FIELD_LIMITS,
    VERSION,
    drawn,
    field_of,
    one_cell,
    refused,
)

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
TASK = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"versionId": "2", "lastUpdated": "2026-11-24T08:59:00.000Z"},
    "status": "in-progress",
    "intent": "order",
    "for": {"reference": "Patient/1"},
    "encounter": {"reference": "Encounter/1"},
    "owner": {"reference": "Device/w"},
    "authoredOn": "2026-11-24T08:59:00+00:00",
}
SUBMISSION = Submission(TASK, ["Media/1"], ["Observation/1"], ["QuestionnaireResponse/1"])
ANALYSIS = rules.analyse(
    SymptomFacts(date(2026, 11, 24), age_years=30, symptoms={"fever": "yes", "jaundice": "yes"})
)
PREDICTIONS = [
    field_of(600, 40, SmearAnswer.SUSPECTED),
    field_of(600, 0, SmearAnswer.NONE_FOUND),
    field_of(600, 15, SmearAnswer.INDETERMINATE),
    field_of(40, 1, SmearAnswer.INSUFFICIENT),
    one_cell(CellAnswer.PARASITE_LIKELY, 0.97),
    one_cell(CellAnswer.INDETERMINATE, 0.5),
    one_cell(CellAnswer.NOT_SEEN, 0.02),
    refused(2),
    drawn(),
]


def transaction(smear: SmearPrediction | None, *, has_symptoms: bool = True) -> dict[str, Any]:
    results = Results(
        smear,
        smear_system(VERSION, CARD) if smear else None,
        ANALYSIS if has_symptoms else None,
        symptom_system(ANALYSIS, symptom_card()) if has_symptoms else None,
    )
    numbers = itertools.count()
    return result_transaction(
        SUBMISSION, results, now=NOW, new_uuid=lambda: f"{next(numbers):032x}"
    )


def resources(bundle: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    found = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in found if resource["resourceType"] == type_]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("has_symptoms", [True, False])
def test_every_resource_is_valid_r4(prediction: SmearPrediction, has_symptoms: bool) -> None:
    bundle = transaction(prediction, has_symptoms=has_symptoms)

    validator = Validator()
    problems = {
        e["resource"]["resourceType"]: validator.issues(e["resource"]) for e in bundle["entry"]
    }
    assert {type_: issues for type_, issues in problems.items() if issues} == {}


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_everything_the_ai_says_is_marked_as_such(prediction: SmearPrediction) -> None:
    bundle = transaction(prediction)

    said = resources(bundle, "Observation") + resources(bundle, "DiagnosticReport")
    said += resources(bundle, "Media") + resources(bundle, "Binary")
    assert len(said) == 3 + 2 * len(prediction.drawings)
    assert all(r["meta"]["security"][0]["code"] == "AIAST" for r in said)
    assert all(r["status"] in ("preliminary", "cancelled") for r in said[:3])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_no_conclusion_calls_a_smear_negative(prediction: SmearPrediction) -> None:
    (report,) = resources(transaction(prediction), "DiagnosticReport")

    without_abstention = report["conclusion"].replace(NO_OPINION, "")
    assert "negative" not in without_abstention.casefold()
    assert report["conclusion"].endswith(CAUTION)


@pytest.mark.parametrize(
    ("prediction", "code", "words"),
    [
        (PREDICTIONS[0], "parasites-suspected", "Parasites suspected"),
        (PREDICTIONS[1], "none-found", NOT_EXCLUDED),
        (PREDICTIONS[2], "indeterminate", "Indeterminate"),
        (PREDICTIONS[3], "insufficient", "too few cells"),
        (PREDICTIONS[4], "parasite-likely", "in this cell image"),
        (PREDICTIONS[6], "not-seen", NOT_EXCLUDED),
        (PREDICTIONS[7], "refused", NO_OPINION),
    ],
)
def test_each_answer_has_its_own_words_and_code(
    prediction: SmearPrediction, code: str, words: str
) -> None:
    (report,) = resources(transaction(prediction), "DiagnosticReport")

    assert words in report["conclusion"]
    assert report["conclusionCode"][0]["coding"][0]["code"] == code


def test_nothing_found_in_a_patient_with_danger_signs_is_called_discordant() -> None:
    (discordant,) = resources(transaction(PREDICTIONS[1]), "DiagnosticReport")
    (agreeing,) = resources(transaction(PREDICTIONS[0]), "DiagnosticReport")

    assert DISCORDANT in discordant["conclusion"]
    assert DISCORDANT not in agreeing["conclusion"]


def test_the_report_carries_the_tasks_id_and_its_observations() -> None:
    bundle = transaction(PREDICTIONS[0])
    (report,) = resources(bundle, "DiagnosticReport")

    assert report["identifier"] == [{"system": REPORT_OF_TASK, "value": "t1"}]
    urls = {e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"}
    assert {result["reference"] for result in report["result"]} == urls
    assert report["encounter"] == TASK["encounter"]


def test_the_task_is_completed_under_the_version_that_was_claimed() -> None:
    bundle = transaction(PREDICTIONS[0])

    put = bundle["entry"][-1]
    assert put["request"] == {"method": "PUT", "url": "Task/t1", "ifMatch": 'W/"2"'}
    assert put["resource"]["status"] == "completed"


def test_drawings_are_derived_from_the_image_and_traced_to_the_model() -> None:
    bundle = transaction(PREDICTIONS[8])
    urls = {
        e["fullUrl"]
        for e in bundle["entry"]
        if e["resource"]["resourceType"] in ("Media", "Binary")
    }
    media = resources(bundle, "Media")
    (report,) = resources(bundle, "DiagnosticReport")
    (trace, _) = resources(bundle, "Provenance")

    assert len(urls) == 6
    assert urls <= {target["reference"] for target in trace["target"]}
    for each in media:
        assert each["extension"][0] == {
            "url": DERIVED_FROM,
            "valueReference": {"reference": "Media/1"},
        }
        assert each["identifier"] == [{"system": DRAWINGS_OF_TASK, "value": "t1"}]
        assert each["content"]["url"] in urls
    assert [drawing_of(entry) for entry in report["media"]] == [None, *KINDS]
    assert {e["link"]["reference"] for e in report["media"][1:]} < urls


def test_a_gallery_says_what_was_answered_about_each_cell() -> None:
    media = resources(transaction(PREDICTIONS[8]), "Media")
    (gallery,) = (m for m in media if m["view"]["coding"][0]["code"] == GALLERY)
    told = [
        {part["url"]: next(v for k, v in part.items() if k != "url") for part in e["extension"]}
        for e in gallery["extension"]
        if e["url"] == CELL
    ]

    like = {"numerator": {"value": 400}, "denominator": {"value": 412}}
    assert told[0] == {
        "answer": "parasite-likely",
        "box": "0 0 50 50",
        "probability": 0.97,
        "like-scored": like,
    }
    assert told[1]["like-scored"]["denominator"] == {"value": 900}
    assert told[2] == {"answer": "refused", "box": "0 0 50 50", "check": "cut-off"}


def test_images_that_were_read_and_not_drawn_are_told() -> None:
    (report,) = resources(transaction(replace(PREDICTIONS[0], undrawn=2)), "DiagnosticReport")

    assert "2 of the images were read and counted" in report["conclusion"]


def test_a_single_cell_is_told_beside_validation_cells_scored_like_it() -> None:
    bands = PREDICTIONS[8].bands
    with_bands = transaction(replace(PREDICTIONS[4], bands=bands))
    (report,) = resources(with_bands, "DiagnosticReport")
    components = resources(with_bands, "Observation")[0]["component"]
    sentence = "Of 412 validation cells scored like this, 400 held a parasite."

    assert sentence in report["conclusion"]
    assert [c["valueRatio"] for c in components if "valueRatio" in c] == [
        {"numerator": {"value": 400}, "denominator": {"value": 412}}
    ]
    for silent in (PREDICTIONS[4], replace(PREDICTIONS[5], bands=bands), PREDICTIONS[8]):
        (report,) = resources(transaction(silent), "DiagnosticReport")
        assert "scored like this" not in report["conclusion"]


def test_confidence_is_told_of_a_single_cell_only() -> None:
    def told(prediction: SmearPrediction) -> list[float]:
        image = resources(transaction(prediction), "Observation")[0]
        return [e["valueDecimal"] for e in image.get("extension", ()) if e["url"] == CONFIDENCE]

    assert told(PREDICTIONS[4]) == [0.97]
    assert told(PREDICTIONS[6]) == [0.98]
    assert told(PREDICTIONS[5]) == []
    assert told(PREDICTIONS[0]) == []


@pytest.mark.parametrize(
    ("prediction", "told"),
    [
        (one_cell(CellAnswer.NOT_SEEN, 0.02), [("parasite likely", 0.8)]),
        (field_of(600, 0, SmearAnswer.NONE_FOUND), [("parasite likely", 0.99)]),
        (refused(), []),
        (
            replace(PREDICTIONS[0], thresholds=(CELL_LIMITS, FIELD_LIMITS)),
            [
                ("parasite likely, in images of single cells", 0.8),
                ("parasite likely, in fields", 0.99),
            ],
        ),
    ],
)
def test_the_thresholds_are_those_of_the_kinds_of_image_that_were_judged(
    prediction: SmearPrediction, told: list[tuple[str, float]]
) -> None:
    components = smear_observation(prediction, {}, images=[], device="Device/1")["component"]

    found = [c for c in components if c["code"]["coding"][0]["code"] == "threshold-high"]
    said = [
        (c["code"]["text"].removeprefix("Threshold: from here, "), c["valueQuantity"]["value"])
        for c in found
    ]
    assert said == told


def test_provenance_says_which_version_read_what() -> None:
    bundle = transaction(PREDICTIONS[0])
    images, symptoms = resources(bundle, "Provenance")

    assert [e["what"]["reference"] for e in images["entity"] if e["role"] == "source"] == [
        "Media/1"
    ]
    assert {e["what"]["reference"] for e in symptoms["entity"] if e["role"] == "source"} == {
        "QuestionnaireResponse/1",
        "Observation/1",
    }
    for provenance in (images, symptoms):
        assert provenance["reason"][0]["coding"][0]["code"] == "AIAST"
        assert provenance["agent"][0]["role"][0]["coding"][0] == {
            "system": DEVICE_TYPES,
            "code": "Artificial-Intelligence",
        }
        assert [e["role"] for e in provenance["entity"]][-1] == "derivation"


def test_devices_and_cards_are_made_once_for_each_version() -> None:
    bundle = transaction(PREDICTIONS[0])

    made = [
        e
        for e in bundle["entry"]
        if e["resource"]["resourceType"] in ("Device", "DocumentReference")
    ]
    assert len(made) == 4
    assert all(e["request"]["ifNoneExist"].startswith("identifier=") for e in made)


def test_a_refused_image_beside_symptoms_is_told_and_nothing_is_found() -> None:
    bundle = transaction(refused())
    image = resources(bundle, "Observation")[0]
    task = bundle["entry"][-1]["resource"]

    assert image["status"] == "cancelled"
    assert "valueCodeableConcept" not in image
    assert (
        "Image 1 refused (focus)"
        in bundle["entry"][-1]["resource"]["contained"][0]["issue"][0]["diagnostics"]
    )
    assert task["status"] == "completed"


def test_a_failure_changes_the_task_and_leaves_an_audit_event() -> None:
    bundle = failure_transaction(TASK, refusal_issues(refused()), now=NOW, new_uuid=lambda: "u")

    event, task = (entry["resource"] for entry in bundle["entry"])
    assert event["subtype"][0]["code"] == "ai-refusal"
    assert event["outcome"] == "4"
    assert task["status"] == "failed"
    assert Validator().issues(event) == ()
    assert Validator().issues(task) == ()


def test_no_line_of_a_report_gives_a_dose() -> None:
    from models.symptoms.redact import has_dose

    (report,) = resources(transaction(PREDICTIONS[0]), "DiagnosticReport")

    assert not has_dose(report["conclusion"])
