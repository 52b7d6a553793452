"""What MedSAGE defines itself: valid, and complete for what its code writes."""

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from fhir_server.audit.chain import tagged
from fhir_server.audit.event import audit_event
from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.kinds import KINDS
from fhir_server.fhir.assessment import (
    CANONICAL,
    HISTORY_CODES,
    QUESTIONNAIRE,
    SYMPTOM_CODES,
    TRAVEL_DATES,
    VITAL_SIGNS,
    Image,
    Intake,
    Parties,
    submission,
)
from fhir_server.fhir.drawings import CELL
from fhir_server.fhir.drawings import KINDS as DRAWINGS
from fhir_server.fhir.smear_answers import ANSWERS
from fhir_server.security.principal import Principal
from fhir_server.security.roles import ROLES
from fhir_server.validation.validate import Validator
from models.analysis import smear_system
from models.malaria.reading import CellAnswer, SmearAnswer, ViewKind
from models.report import Results, Submission, failure_transaction, result_transaction
from models.result_event import RefusedCall, refused_call_event
from models.smear_media import DISPLAYS
from models.smear_report import refusal_issues
from models.symptoms.card import symptom_card, symptom_system
from models.symptoms.port import (
    Analysis,
    Evidence,
    Finding,
    ModelUse,
    Possibility,
    Source,
    Statement,
    Urgency,
)
from models.tasks import ATTEMPT, claimed, completed
from models.wording import CELL_STATES, SMEAR_STATES
from smart_app import auditing, prescribing, reading
from smart_app.signing import Signer
from terminology import own
from terminology.findings import FINDING
from tests.project.sources import product
from tests.smear_predictions import CARD, VERSION, drawn, field_of, one_cell, refused

Json = dict[str, Any]

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TASK: Json = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"versionId": "2", "lastUpdated": "2026-11-24T08:59:00.000Z"},
    "status": "requested",
    "intent": "order",
    "for": {"reference": "Patient/1"},
    "owner": {"reference": "Device/w"},
}
REPORT: Json = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "subject": {"reference": "Patient/1"},
}
SIGNER = Signer("Practitioner/dr-amina", "Dr Amina", "2026-11-24T09:00:00Z")
PREDICTIONS = (
    *(field_of(600, 40, answer) for answer in SMEAR_STATES if answer is not SmearAnswer.REFUSED),
    *(one_cell(answer, 0.9) for answer in CELL_STATES if answer is not CellAnswer.REFUSED),
    refused(),
    drawn(),
    replace(one_cell(CellAnswer.PARASITE_LIKELY, 0.95), bands=drawn().bands),
)


@cache
def defined() -> dict[str, Json]:
    """What is defined, by URL."""
    return {resource["url"]: resource for resource in own.resources()}


@cache
def displays(system: str) -> dict[str, str]:
    """The display of each code of a system."""
    concepts = defined()[system].get("concept", ())
    return {concept["code"]: concept["display"] for concept in concepts}


def walk(value: Any) -> Iterator[Json]:
    """Every object within, itself first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from walk(each)


def submitted() -> Iterator[Json]:
    intake = Intake(
        NOW,
        vitals=dict.fromkeys(VITAL_SIGNS, 38.0),
        symptoms=dict.fromkeys(SYMPTOM_CODES, "yes"),
        history=dict.fromkeys(HISTORY_CODES, "no"),
        travel=dict.fromkeys(TRAVEL_DATES, "2026-11-10"),
        symptoms_text="ill",
        onset="2026-11-20",
        images=[Image(b"x", "image/png", "smear")],
    )
    numbers = itertools.count()
    bundle = submission(intake, Parties("Patient/1"), lambda: next(numbers))
    yield from (entry["resource"] for entry in bundle["entry"])


def analysed() -> Iterator[Json]:
    source = Source("Guideline", "1")
    for prediction, urgency in itertools.product(PREDICTIONS, Urgency):
        analysis = Analysis(
            "rules",
            urgency,
            findings=(Finding("news2", "NEWS2 7", urgency, "NEWS2 of 5 or more", source, ()),),
            recommendations=("Test.",),
            possibilities=(
                Possibility("Malaria", (Evidence("Fever: yes"),), (), "rules", "DD-1", source),
            ),
            statements=(Statement("Said.", ("fact",)),),
            notes=("Age unknown.",),
            model_use=ModelUse("model", "1", "hash", "1", "hash", is_cached=True),
        )
        results = Results(
            prediction,
            smear_system(VERSION, CARD),
            analysis,
            symptom_system(analysis, symptom_card()),
        )
        numbers = itertools.count()
        bundle = result_transaction(
            Submission(TASK, ["Media/1"]), results, now=NOW, new_uuid=lambda n=numbers: str(next(n))
        )
        yield from (entry["resource"] for entry in bundle["entry"])


def worked_on() -> Iterator[Json]:
    task = claimed(TASK, "Device/w", NOW)
    issues = refusal_issues(refused())
    yield completed(task, {"report": ["DiagnosticReport/1"]}, now=NOW, issues=issues)
    failure = failure_transaction(task, issues, now=NOW, new_uuid=lambda: "u")
    yield from (entry["resource"] for entry in failure["entry"])
    yield refused_call_event(RefusedCall(401, "no token", None, None), NOW)


def audited() -> Iterator[Json]:
    person = Principal(
        subject="dr.amina",
        client_id="medsage-app",
        name="Dr Amina",
        roles=frozenset(ROLES),
        fhir_user="Practitioner/dr-amina",
        scopes="",
        patient=None,
        encounter=None,
        session=None,
    )
    trail = AuditTrail(person, lambda: NOW, lambda: "a1", "https://ward.example/fhir")
    for kind in KINDS:
        yield tagged(
            audit_event(trail.entry(interaction=kind, outcome="success", status=200)), number=7
        )


def clinician_wrote() -> Iterator[Json]:
    reader = SIGNER.reference
    for answer in (*reading.SMEAR_ANSWERS, *reading.CLINICAL_ANSWERS, None):
        yield reading.first_reading(REPORT, reader, answer, SIGNER.when)
    for agreement in reading.AGREEMENTS:
        chosen = {"finding": "cannot-tell", "agreement": agreement}
        yield reading.final_finding(REPORT, reader, chosen, SIGNER.when)
    yield prescribing.no_medicine(REPORT, SIGNER, "f1")
    for event in auditing.ACTIONS:
        yield auditing.audit_event(event, REPORT, "1", SIGNER)
    yield auditing.refusal_event("no", NOW, client_id="medsage-app", session=None, address=None)


def written() -> Iterator[Json]:
    for source in (submitted, analysed, worked_on, audited, clinician_wrote):
        yield from source()


def own_codings() -> list[Json]:
    """Every coding of an own system that is written."""
    return [
        element
        for resource in written()
        for element in walk(resource)
        if str(element.get("system", "")).startswith(f"{CANONICAL}/CodeSystem/")
    ]


def literal_calls(folder: str, *functions: str) -> Iterator[tuple[str | None, ...]]:
    """The arguments of each call of one of the functions in the modules whose names begin so:
    literal words, None for what is computed."""
    trees = [source.tree for source in product() if source.name.startswith(folder)]
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in functions:
            yield tuple(a.value if isinstance(a, ast.Constant) else None for a in node.args)


def rules() -> dict[str, tuple[str | None, str | None]]:
    """Each code that a rule can write but the danger signs, with its words and its rule's id."""
    limits = literal_calls("models/symptoms/", "Limit")
    return {code: (text, rule) for code, text, _, rule, _ in limits if code is not None}


@pytest.mark.parametrize("url", sorted(defined()))
def test_what_is_defined_is_valid_r4(url: str) -> None:
    assert Validator().issues(defined()[url]) == ()


def test_ids_and_urls_are_given_once() -> None:
    resources = own.resources()
    assert len(defined()) == len({(r["resourceType"], r["id"]) for r in resources})
    assert len(defined()) == len(resources)
    assert all(r["url"].startswith(f"{CANONICAL}/{r['resourceType']}/") for r in resources)


@pytest.mark.parametrize("url", sorted(u for u in defined() if "/CodeSystem/" in u))
def test_every_code_is_given_once_and_explained(url: str) -> None:
    concepts = defined()[url].get("concept", ())
    assert len(displays(url)) == len(concepts) == defined()[url].get("count", 0)
    assert all(concept["definition"].endswith(".") for concept in concepts)


def test_every_definition_that_the_code_names_is_there() -> None:
    named = re.compile(r"(?:CANONICAL\}|medsage\.example/fhir)(/(?!identifier/)\w+/[\w-]+)")
    found = {f"{CANONICAL}{path}" for source in product() for path in named.findall(source.text)}
    assert found
    assert found <= defined().keys()


def test_every_code_that_is_written_is_defined_with_the_same_display() -> None:
    codings = own_codings()
    assert {coding["system"].rpartition("/")[2] for coding in codings} == {
        *("task-code", "task-part", "finding", "line-origin"),
        *("audit-event", "audit-subtype", "audit-block", "role"),
    }
    for coding in codings:
        if coding["system"].endswith("/audit-block"):
            assert coding["code"].isdecimal()
            continue
        known = displays(coding["system"])
        assert coding["code"] in known, coding
        assert coding.get("display") in (None, known[coding["code"]])


def test_every_rule_that_can_fire_has_its_code() -> None:
    dangers = {
        f"danger-{code}" for code, (_, is_danger_sign) in SYMPTOM_CODES.items() if is_danger_sign
    }
    codes = displays(FINDING.url)
    assert {c for c in codes if c.startswith("rule-")} == {
        f"rule-{code}" for code in {*rules(), *dangers}
    }


def test_the_words_of_a_rule_are_its_display_where_they_are_always_the_same() -> None:
    definitions = {concept.code: concept for concept in FINDING.concepts}
    for code, (text, rule) in rules().items():
        concept = definitions[f"rule-{code}"]
        if text is not None:
            assert concept.display == text
        if rule is not None:
            assert concept.definition.startswith(f"Rule {rule.split()[0]}:")


def test_every_measure_of_the_image_model_has_its_code() -> None:
    calls = literal_calls("models/smear_report.py", "_count", "_number", "finding")
    measures = {code: display for code, display, *_ in (c for c in calls if len(c) > 1) if code}
    assert len(measures) > 10
    assert measures.items() <= displays(FINDING.url).items()


def test_every_answer_of_the_image_model_has_its_code() -> None:
    states = {
        state.code: state.display for state in (*SMEAR_STATES.values(), *CELL_STATES.values())
    }
    assert states.items() <= displays(FINDING.url).items()


def test_the_clinicians_words_are_the_displays() -> None:
    codes = displays(FINDING.url)
    said = {a: reading.answer_words(a) for a in (*reading.SMEAR_ANSWERS, *reading.CLINICAL_ANSWERS)}
    said |= {a: reading.agreement_words(a) for a in reading.AGREEMENTS}
    assert said.items() <= codes.items()


def test_every_drawing_has_its_code() -> None:
    assert {kind.value: display for kind, display in DISPLAYS.items()}.items() <= (
        displays(FINDING.url).items()
    )
    assert [kind.value for kind in ViewKind] == list(DRAWINGS)


def test_every_answer_has_its_words_and_its_state() -> None:
    states = {state.code for state in (*SMEAR_STATES.values(), *CELL_STATES.values())}
    assert states == ANSWERS.keys()
    for code in states:
        assert "negative" not in ANSWERS[code].words.casefold()


def test_the_parts_of_a_cell_are_those_that_its_extension_allows() -> None:
    allowed = {
        element["fixedUri"]: element["path"]
        for element in defined()[CELL]["differential"]["element"]
        if element["path"] == "Extension.extension.url"
    }
    written = [
        part["url"]
        for resource in analysed()
        if resource["resourceType"] == "Media"
        for extension in resource["extension"]
        if extension["url"] == CELL
        for part in extension["extension"]
    ]

    assert set(written) == set(allowed)


def test_the_roles_are_the_servers() -> None:
    assert displays(f"{CANONICAL}/CodeSystem/role").keys() == ROLES.keys()


def test_the_questionnaire_asks_what_a_response_answers() -> None:
    (response,) = (r for r in submitted() if r["resourceType"] == "QuestionnaireResponse")
    questions = {item["linkId"]: item for item in defined()[QUESTIONNAIRE]["item"]}

    asked = [*SYMPTOM_CODES, *HISTORY_CODES, *TRAVEL_DATES]
    assert list(questions) == [*asked, "onset", "description"]
    assert questions.keys() == {item["linkId"] for item in response["item"]}
    values = {"choice": "valueCoding", "date": "valueDate", "text": "valueString"}
    for item in response["item"]:
        question = questions[item["linkId"]]
        (answer,) = item["answer"]
        assert item["text"] == question["text"]
        assert answer.keys() == {values[question["type"]]}
        assert answer in question.get("answerOption", [answer])


def test_the_danger_signs_are_a_value_set_of_their_own() -> None:
    (include,) = defined()[f"{CANONICAL}/ValueSet/danger-sign"]["compose"]["include"]
    expected = {c: d for c, (d, is_danger_sign) in SYMPTOM_CODES.items() if is_danger_sign}

    assert {concept["code"]: concept["display"] for concept in include["concept"]} == expected
    assert expected.items() <= displays(include["system"]).items()


def test_the_extension_is_what_a_claimed_task_carries() -> None:
    (extension,) = claimed(TASK, "Device/w", NOW)["extension"]
    (value,) = (
        element
        for element in defined()[ATTEMPT]["differential"]["element"]
        if element["path"] == "Extension.value[x]"
    )

    assert extension.keys() == {"url", "valueInteger"}
    assert value["type"] == [{"code": "integer"}]
    assert defined()[ATTEMPT]["context"] == [{"type": "element", "expression": "Task"}]
