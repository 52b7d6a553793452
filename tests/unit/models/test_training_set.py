"""The candidate training set: consented, double-read, well pictured; pseudonymous and grouped."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from fhir_server.fhir.assessment import AI_ASSERTED, FINDINGS
from fhir_server.fhir.drawings import DRAWING
from models.fhir_client import CallerToken, FhirClient
from models.retraining import consents
from models.retraining.cases import Case, Lack, Record, judged
from models.retraining.consents import permits_training
from models.retraining.gathering import gather
from models.retraining.training_set import (
    CELLS,
    JUDGING,
    KEPT_ASIDE,
    MANIFEST,
    NEEDED,
    LabelledCell,
    TrainingSet,
    pseudonym,
    split_of,
    write_set,
)
from models.training.cells import read_splits
from models.training.learnt import prints
from tests.consent_world import actor, consent, deny, exceptions, permit, purpose
from tests.fhir_double import BASE

Json = dict[str, Any]

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CELL = (Path(__file__).parents[3] / "deploy/demo/images/cell-parasitized.png").read_bytes()
RESEARCH = purpose("HRESCH")
ALLOWED = consent(provision=exceptions(permit(**RESEARCH)))
ABOUT_RESEARCH = {"scope": {"coding": [{"system": consents.SCOPES, "code": "research"}]}}


def reading(reader: str, answer: str | None, code: str = "first-reading") -> Json:
    said = {} if answer is None else {"valueCodeableConcept": coded(answer)}
    return {
        "resourceType": "Observation",
        "id": f"{code}-{reader}",
        "code": coded(code),
        "performer": [{"reference": f"Practitioner/{reader}"}],
        "derivedFrom": [{"reference": "Media/m1"}],
        "subject": {"reference": "Patient/x"},
        **said,
    }


def coded(code: str) -> Json:
    return {"coding": [{"system": FINDINGS, "code": code}]}


def feedback(agreement: str, *reasons: str) -> Json:
    components = [
        {"code": coded("feedback-reason"), "valueCodeableConcept": coded(each)} for each in reasons
    ]
    return {
        "resourceType": "Observation",
        "id": "feedback",
        "code": coded("ai-feedback"),
        "subject": {"reference": "Patient/x"},
        "focus": [{"reference": "Observation/ai"}],
        "valueCodeableConcept": coded(agreement),
        "component": components,
    }


REPORT: Json = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "status": "final",
    "meta": {"security": [AI_ASSERTED]},
    "code": coded("malaria-assessment-ai"),
    "subject": {"reference": "Patient/x"},
    "media": [{"link": {"reference": "Media/m1"}}],
    "result": [{"reference": "Observation/ai"}],
}
AGREED = (reading("a", "parasites-seen"), reading("b", "parasites-seen"))


def record(readings: Any = AGREED, said: Any = (), allowed: Any = (ALLOWED,)) -> Record:
    return Record(REPORT, readings, said, allowed, "http://fhir.test/fhir")


@pytest.mark.parametrize(
    "consented",
    [
        [ALLOWED],
        [consent(provision=permit(**RESEARCH))],
        [consent(**ABOUT_RESEARCH)],
        [ALLOWED, consent(base="OPTOUT", status="inactive", **ABOUT_RESEARCH)],
        [consent(provision={**permit(**RESEARCH), "period": {"end": "2026-11-24"}})],
    ],
    ids=["permitted", "at the root", "research, opted in", "refusal ended", "until today"],
)
def test_who_permits_research_takes_part(consented: list[Json]) -> None:
    assert permits_training(consented, NOW)


@pytest.mark.parametrize(
    "consented",
    [
        [],
        [consent()],
        [consent(provision=exceptions(permit(**purpose("TREAT"))))],
        [consent(provision=exceptions(permit()))],
        [{**ALLOWED, "status": "inactive"}],
        [consent(provision={**permit(**RESEARCH), "period": {"end": "2026-11-23"}})],
        [consent(provision=permit(**RESEARCH, **actor("Organization/other")))],
        [consent(provision=permit(**purpose("TREAT"), **exceptions(permit(**RESEARCH))))],
        [{**ALLOWED, "modifierExtension": [{"url": "x"}]}],
        [ALLOWED, consent(provision=exceptions(deny(**RESEARCH)))],
        [ALLOWED, consent(provision=exceptions(deny(**actor("Organization/other"))))],
        [ALLOWED, consent(base="OPTOUT", **ABOUT_RESEARCH)],
    ],
    ids=["silence", "care alone", "another purpose", "no purpose", "withdrawn", "over",
         "somebody else", "an exception to care", "not understood", "refused as well",
         "a refusal to some", "research refused"],
)  # fmt: skip
def test_silence_doubt_and_refusal_are_no_consent(consented: list[Json]) -> None:
    assert not permits_training(consented, NOW)
    assert judged(record(allowed=consented), NOW) is Lack.CONSENT


def test_two_readers_who_agree_label_a_case() -> None:
    case = judged(record(said=[feedback("reject", "wrong-finding")]), NOW)

    assert case == Case(
        "DiagnosticReport/r1",
        "Patient/x",
        ("Media/m1",),
        1,
        ("Observation/first-reading-a", "Observation/first-reading-b"),
    )


A, B = reading("a", "parasites-seen"), reading("b", "parasites-not-seen")
UNSURE = reading("b", "cannot-tell")
SEEN_BY_C = reading("c", "parasites-seen", "adjudicated-reading")


@pytest.mark.parametrize(
    ("readings", "lack"),
    [
        ([A], Lack.SECOND_READER),
        ([A, A], Lack.SECOND_READER),
        ([A, reading("b", None)], Lack.SECOND_READER),
        ([A, reading("b", "parasites-seen", "clinician-finding")], Lack.SECOND_READER),
        ([A, B], Lack.DISAGREEMENT),
        ([A, UNSURE], Lack.DISAGREEMENT),
        ([A, B, reading("a", "parasites-seen", "adjudicated-reading")], Lack.DISAGREEMENT),
        ([A, B, reading("c", "cannot-tell", "adjudicated-reading")], Lack.DISAGREEMENT),
        ([A, B, reading("c", None), SEEN_BY_C], Lack.DISAGREEMENT),
        ([A, {**AGREED[1], "status": "entered-in-error"}], Lack.SECOND_READER),
        ([A, {k: v for k, v in AGREED[1].items() if k != "performer"}], Lack.SECOND_READER),
    ],
    ids=["one reader", "one reader twice", "a reading not made", "the final finding",
         "disagreement", "unsure", "adjudicated by a reader", "adjudicator unsure",
         "adjudicated by who opened the AI result at once", "a reading taken back",
         "a reading of nobody"],
)  # fmt: skip
def test_what_is_not_double_read_labels_nothing(readings: list[Json], lack: Lack) -> None:
    assert judged(record(readings), NOW) is lack


def test_a_third_reader_adjudicates() -> None:
    third = reading("c", "parasites-not-seen", "adjudicated-reading")

    case = judged(record([A, UNSURE, third]), NOW)

    assert isinstance(case, Case)
    assert case.label == 0
    assert "Observation/adjudicated-reading-c" in case.readings


def test_where_one_adjudicator_cant_tell_another_may_decide() -> None:
    thirds = [
        reading("c", "cannot-tell", "adjudicated-reading"),
        reading("d", "parasites-seen", "adjudicated-reading"),
    ]

    case = judged(record([A, UNSURE, *thirds]), NOW)

    assert isinstance(case, Case)
    assert case.label == 1
    assert "Observation/adjudicated-reading-d" in case.readings
    other = reading("e", "parasites-not-seen", "adjudicated-reading")
    assert judged(record([A, UNSURE, *thirds, other]), NOW) is Lack.DISAGREEMENT


async def test_what_the_ai_drew_is_no_image_of_a_case() -> None:
    ward = Ward("p")
    drawing = {
        "extension": [{"url": DRAWING, "valueCode": "cell-gallery"}],
        "link": {"reference": "Media/drawn"},
    }
    report = ward.found["DiagnosticReport"][0]
    ward.found["DiagnosticReport"] = [{**report, "media": [*report["media"], drawing]}]

    made = await gathered(ward)

    assert [len(source["images"]) for source in made.sources] == [1]
    assert made.sources[0]["images"][0]["media"] == "Media/p/_history/1"


@pytest.mark.parametrize("reason", ["poor-image", "artefact", "wrong-slide"])
def test_spoilt_images_teach_nothing(reason: str) -> None:
    assert judged(record(said=[feedback("reject", reason)]), NOW) is Lack.SPOILT


def test_a_patient_is_in_one_split_and_stays_there() -> None:
    names = [pseudonym(b"s" * 32, f"Patient/{number}") for number in range(2000)]

    splits = ("train", JUDGING)
    shares = {split: sum(split_of(n) == split for n in names) / 2000 for split in splits}

    assert len(set(names)) == 2000
    assert "Patient" not in "".join(names)
    assert shares["train"] == pytest.approx(0.65, abs=0.04)
    assert shares[JUDGING] == pytest.approx(0.15, abs=0.03)
    assert pseudonym(b"t" * 32, "Patient/1") != names[1]


class Ward:
    """Reports, readings and Consents of some patients, searched by type alone."""

    def __init__(self, *patients: str) -> None:
        self.kept_back: set[str] = set()
        self.meanwhile: Callable[[str], None] = lambda asked: None
        self.found: dict[str, list[Json]] = {
            "DiagnosticReport": [self._of(REPORT, p, id=f"r-{p}") for p in patients],
            "Observation": [self._of(each, p) for p in patients for each in AGREED],
            "Consent": [consent(p, provision=exceptions(permit(**RESEARCH))) for p in patients],
        }

    def _of(self, resource: Json, patient: str, **changes: Any) -> Json:
        text = json.dumps(resource | changes)
        return json.loads(
            text.replace("Patient/x", f"Patient/{patient}").replace("Media/m1", f"Media/{patient}")
        )

    def client(self) -> FhirClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        return FhirClient(http, BASE, CallerToken(None))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        kind, _, id_ = request.url.path.removeprefix("/fhir/").partition("/")
        self.meanwhile(f"{kind}/{id_}")
        if f"{kind}/{id_}" in self.kept_back:
            return httpx.Response(404, json={"resourceType": "OperationOutcome", "issue": []})
        if kind == "Media":
            # Another picture of each patient: PNG readers pass over what follows the end.
            data = base64.b64encode(CELL + id_.encode()).decode()
            media = {"resourceType": kind, "id": id_, "meta": {"versionId": "1"}}
            return httpx.Response(200, json={**media, "content": {"data": data}})
        wanted = request.url.params.get("patient", "Patient/")
        found = [each for each in self.found[kind] if f'"{wanted}"' in json.dumps(each)]
        if wanted == "Patient/":
            found = self.found[kind]
        entries = [{"resource": each} for each in found]
        return httpx.Response(200, json={"resourceType": "Bundle", "entry": entries})


async def gathered(ward: Ward) -> TrainingSet:
    made = TrainingSet(b"s" * 32)
    await gather(ward.client(), made, NOW)
    return made


async def test_the_set_is_written_in_the_layout_of_the_training_cells_with_its_sources(
    tmp_path: Path,
) -> None:
    made = await gathered(Ward("p", "q", "r"))

    manifest = write_set(made, tmp_path / "set", NOW)

    assert manifest == json.loads((tmp_path / "set" / MANIFEST).read_text())
    for name, said in ((CELLS, manifest), (KEPT_ASIDE, manifest["kept_aside"])):
        file = tmp_path / "set" / name
        count = said["cells"]
        with np.load(file) as arrays:
            assert arrays["x"].dtype == np.uint8
            assert arrays["x"].shape == (count, 50, 50)
            assert arrays["y"].tolist() == [1] * count
            assert set(arrays.files) == {"x", "y", "name", "patient", "split"}
            assert said["patients"] == sorted(set(arrays["patient"].tolist()))
            assert said["pictures"] == [f"{each:016x}" for each in prints(arrays["x"])]
        assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert (file.stat().st_mode & 0o777) == 0o600
    assert manifest["cells"] + manifest["kept_aside"]["cells"] == 3
    assert [source["report"] for source in manifest["sources"]] == [
        f"DiagnosticReport/r-{each}" for each in "pqr"
    ]
    assert manifest["sources"][0]["images"][0]["media"] == "Media/p/_history/1"
    assert "Patient/" not in json.dumps(manifest)
    again = write_set(await gathered(Ward("r", "q", "p")), tmp_path / "again", NOW)
    assert again == manifest


async def test_whoever_withdraws_consent_is_not_in_the_next_set() -> None:
    ward = Ward("p", "q")
    assert len((await gathered(ward)).cells) == 2

    ward.found["Consent"][0]["status"] = "inactive"
    made = await gathered(ward)

    assert {cell.patient for cell in made.cells} == {pseudonym(b"s" * 32, "Patient/q")}
    assert made.progress.lacks == {Lack.CONSENT: 1}
    assert made.progress.counts["infected cells"] == 1
    assert made.progress.counts["patients with parasites"] == 1
    assert not made.progress.is_enough
    made.progress.counts.update(NEEDED)
    assert made.progress.is_enough


async def test_whoever_withdraws_consent_while_it_is_gathered_is_not_in_the_set() -> None:
    by_consent, by_guard = Ward("p", "q"), Ward("p", "q")

    def withdraw(asked: str) -> None:
        if asked == "Media/q":
            by_consent.found["Consent"][0]["status"] = "inactive"
            by_guard.kept_back.add("DiagnosticReport/r-p")

    by_consent.meanwhile = by_guard.meanwhile = withdraw
    by_image = Ward("p", "q")
    by_image.kept_back.add("Media/p")
    for ward in (by_consent, by_guard, by_image):
        made = await gathered(ward)
        assert {cell.patient for cell in made.cells} == {pseudonym(b"s" * 32, "Patient/q")}
        assert [source["report"] for source in made.sources] == ["DiagnosticReport/r-q"]
        assert made.progress.lacks == {Lack.CONSENT: 1}
        assert made.progress.counts["infected cells"] == 1
        assert made.progress.counts["patients with parasites"] == 1


async def test_one_picture_of_two_patients_is_taken_once() -> None:
    made = TrainingSet(b"s" * 32)
    ward = Ward("p", "q")
    for each in ward.found["DiagnosticReport"]:
        each["media"] = [{"link": {"reference": "Media/p"}}]
    for each in ward.found["Observation"]:
        each["derivedFrom"] = [{"reference": "Media/p"}]

    await gather(ward.client(), made, NOW)

    assert len(made.cells) == 1
    assert made.progress.lacks == {Lack.UNREADABLE: 1}


def test_who_is_kept_aside_to_judge_is_in_no_file_that_teaches(tmp_path: Path) -> None:
    made = TrainingSet(b"s" * 32)
    names = [pseudonym(made.secret, f"Patient/{number}") for number in range(60)]
    blank = np.zeros((50, 50), np.uint8)
    made.cells = [LabelledCell(blank + n, n % 2, f"{p}/a-0", p) for n, p in enumerate(names)]

    write_set(made, tmp_path, NOW)

    teaching, judging = read_splits(tmp_path / CELLS), read_splits(tmp_path / KEPT_ASIDE)
    assert set(teaching) == {"train", "val", "test"}
    assert set(judging) == {JUDGING}
    taught = {each for cells in teaching.values() for each in cells.patient}
    aside = set(judging[JUDGING].patient)
    assert len(aside) > 3
    assert taught.isdisjoint(aside)
    assert taught | aside == set(names)
