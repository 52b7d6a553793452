"""`medsage models …` of the watch: what it prints, how it ends; and the shipped reference."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.watching import limits_of
from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.model_versions import BETTER, Compared, Version, require_verdict, verdict_of
from fhir_server.fhir.outcome import FhirError
from fhir_server.load_settings import UnusableSettings
from fhir_server.settings import Settings
from fhir_server.validation.validate import Validator
from models.fhir_client import CallerToken, FhirClient
from models.malaria.calibration import CALIBRATION, WEIGHTS, read_calibration
from models.monitoring.cds_feedback import cds_feedback
from models.monitoring.reference import read_reference
from models.retraining.comparison import Comparison, Difference, Verdict
from models.retraining.verdicts import UnknownVersion, comparison_report, device_of, stored_verdict
from models.smear_report import SCORE_BINS
from models.training.cells import Cells, file_sha256, read_splits
from models.training.learnt import LEARNT, write_learnt
from tests.fhir_double import BASE, FhirDouble
from tests.unit.models.test_training_set import feedback

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
COMPARED = Compared("new", "old", "c" * 64, "test", 3, 120)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", *words])
    return done.exit_code, done.output


def judging_file(folder: Path, patients: int) -> Path:
    """Two cells each of so many patients, P00 on."""
    chance = np.random.default_rng(1)
    names = np.repeat([f"P{number:02}" for number in range(patients)], 2)
    file = folder / "cells.npz"
    np.savez(
        file,
        x=chance.integers(60, 200, (len(names), 50, 50)).astype(np.uint8),
        y=np.tile([0, 1], patients).astype(np.uint8),
        name=names,
        patient=names,
        split=np.repeat("test", len(names)),
    )
    return file


def learnt_from(folder: Path, cells: Cells) -> Path:
    """The shipped weights as if they had learnt from these cells."""
    shutil.copytree(WEIGHTS, folder)
    write_learnt(folder, read_calibration(folder).version.data_sha256, cells)
    return folder


def compared(candidate: Path, file: Path, *more: str) -> tuple[int, str]:
    code, text = run("evaluate-candidate", str(candidate), "--cells", str(file), *more)
    return code, " ".join(text.split())


def test_a_version_compared_with_itself_is_not_better(tmp_path: Path) -> None:
    file = judging_file(tmp_path, 21)
    cells = read_splits(file)["test"]
    one = Cells(cells.x[:2], cells.y[:2], cells.patient[:2])
    candidate = learnt_from(tmp_path / "candidate", one)

    code, text = compared(candidate, file, "--split", "test")

    assert code == 1
    assert "left out: 1 patients from whom a version learnt (2 cells)" in text
    assert "no-better (40 cells of 20 patients)" in text
    assert compared(candidate, file)[0] == 2


def test_patients_whom_a_version_knows_judge_nothing_and_too_few_are_refused(
    tmp_path: Path,
) -> None:
    file = judging_file(tmp_path, 21)
    cells = read_splits(file)["test"]
    # Another file of the same people: one by name, another by a picture alone, turned.
    known = Cells(cells.x[[0, 2]], cells.y[[0, 2]], np.array(["P00", "somebody"]))
    known.x[1] = np.rot90(cells.x[2])
    candidate = learnt_from(tmp_path / "candidate", known)

    code, text = compared(candidate, file, "--split", "test")

    assert code == 2
    assert "19 patients are left from whom neither version learnt, and 20 are needed" in text
    assert "1 were left out by name and 1 by a picture (4 cells)" in text
    (candidate / LEARNT).unlink()
    code, text = compared(candidate, file, "--split", "test")
    assert code == 2
    assert "record-learnt" in text
    known_file = json.loads((candidate / CALIBRATION).read_text("utf-8"))
    known_file["sha256"]["data"] = file_sha256(file)
    (candidate / CALIBRATION).write_text(json.dumps(known_file), "utf-8")
    code, text = compared(candidate, file, "--split", "test")
    assert code == 2
    assert "learnt from cells.npz" in text


def test_without_a_server_the_commands_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAGE_BASE_URL", "http://localhost:9")
    monkeypatch.setenv("MEDSAGE_DATA", str(tmp_path))

    for words in (["holds"], ["drift"], ["training-set"], ["feedback"]):
        code, text = run(*words)
        assert code == 3, words
        assert "token endpoint" in text


def comparison(value: float, low: float) -> Comparison:
    found = Difference("auc", 0.98, 0.98 + value, value, low, 0.02)
    same = [Difference(m, 0.9, 0.9, 0.0, 0.0, 0.0) for m in ("sensitivity", "calibration")]
    return Comparison((found, *same, Difference("answered", 1, 1, 0, 0, 0)), 900, 40)


def test_a_promotion_takes_the_verdict_of_a_better_candidate_and_no_other() -> None:
    devices = ("Device/new", "Device/old")
    better = comparison_report(COMPARED, comparison(0.01, 0.004), devices, NOW)
    same = comparison_report(COMPARED, comparison(0.01, -0.001), devices, NOW)

    assert comparison(0.01, 0.004).verdict is Verdict.BETTER
    assert [Validator().issues(each) for each in (better, same)] == [(), ()]
    assert verdict_of(better) == BETTER
    new, old = Version("Device/new", "new"), Version("Device/old", "old")
    require_verdict(better, new, old)
    others = (Version("Device/other", "old"), Version("Device/old", "other files"))
    for report, active in ((same, old), *((better, other) for other in others)):
        with pytest.raises(FhirError):
            require_verdict(report, new, active)
    without = {**better, "extension": better["extension"][:1]}
    with pytest.raises(FhirError, match="does not say which files"):
        require_verdict(without, new, old)


def test_a_comparison_of_before_does_not_keep_a_new_one_out() -> None:
    devices = ("Device/new", "Device/old")
    made = comparison_report(COMPARED, comparison(0.01, 0.004), devices, NOW)
    stored = stored_verdict(made, "Practitioner/ada", lambda: "x")["entry"][0]
    for name in ("model-comparison", "comparison-of-files"):
        before = f"{CANONICAL}/identifier/{name}|{COMPARED.key}"
        assert stored["request"]["ifNoneExist"] != f"identifier={before}"


def test_a_comparison_that_asked_nobody_whom_it_learnt_from_promotes_nothing() -> None:
    asked = comparison_report(COMPARED, comparison(0.01, 0.004), ("Device/new", "Device/old"), NOW)
    verdict, said = asked["extension"]
    parts = [each for each in said["extension"] if not each["url"].endswith("left-out")]
    before = {**asked, "extension": [verdict, {**said, "extension": parts}]}

    with pytest.raises(FhirError, match="from whom either learnt were left out"):
        require_verdict(before, Version("Device/new", "new"), Version("Device/old", "old"))


def test_a_version_that_is_not_registered_can_not_be_stored() -> None:
    fhir = FhirClient(FhirDouble().client(), BASE, CallerToken(None))

    with pytest.raises(UnknownVersion, match="propose it first"):
        asyncio.run(device_of(fhir, "new"))


def test_the_shipped_reference_is_whole_and_of_the_shipped_weights() -> None:
    reference = read_reference()

    assert reference.model_sha256 == read_calibration(WEIGHTS).version.sha256, (
        "the weights changed: medsage models drift-reference --data ../shared/data/malaria"
    )
    for both in reference.scores.values():
        assert [len(bins.counts) for bins in both] == [SCORE_BINS, SCORE_BINS]
        # Most uninfected cells lie in the lowest bin, most infected ones in the highest.
        assert both[0].shares[0] > 0.5 < both[1].shares[-1]
        assert min(bins.units for bins in both) >= 20


@pytest.mark.parametrize(
    ("agreement", "outcome"),
    [("accept", "accepted"), ("modify", "overridden"), ("reject", "overridden")],
)
def test_feedback_has_the_shape_of_cds_hooks(agreement: str, outcome: str) -> None:
    said = {**feedback(agreement, "artefact", "poor-image"), "issued": "2026-11-24T09:00:00Z"}

    line = cds_feedback(said)

    assert line is not None
    assert (line["card"], line["outcome"]) == ("ai", outcome)
    assert line["outcomeTimestamp"] == "2026-11-24T09:00:00Z"
    if outcome == "accepted":
        assert line["acceptedSuggestions"] == [{"id": "ai"}]
    else:
        assert line["overrideReason"]["reason"]["code"] == "artefact"
        assert line["overrideReason"]["userComment"] == "Poor image"


def test_what_was_not_assessed_has_no_outcome() -> None:
    assert cds_feedback(feedback("not-assessed")) is None


def test_a_file_of_limits_that_is_wrong_is_named_by_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text("days = 0\n")
    settings = Settings(data=tmp_path, drift_limits_file=file)

    with pytest.raises(UnusableSettings, match=r"MEDSAGE_DRIFT_LIMITS_FILE: .*limits\.toml"):
        limits_of(settings)
