"""Figures of drift: each verdict is reached, few cases reach none, and the report is valid FHIR."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_server.validation.validate import Validator
from models.monitoring.cases import Case
from models.monitoring.drift_report import Window, drift_report, exceeded, is_same
from models.monitoring.figures import Figure, Verdict, figures
from models.monitoring.limits import FIGURES, SHIPPED, SIGNS, UnusableLimits, read_limits
from models.monitoring.reference import Reference, SignBins, as_json, read_reference
from models.monitoring.stability import Bins
from terminology.monitoring import MODEL_MONITORING

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
LIMITS = read_limits()
CLEAN = Bins((90.0, 2, 1, 1, 1, 1, 1, 1, 1, 1), 100)
INFECTED = Bins((1.0, 1, 1, 1, 1, 1, 1, 1, 2, 90), 100)
SIGN = SignBins((10.0, 20.0, 30.0), Bins((25.0, 25, 25, 25), 100))
REFERENCE = Reference(
    "a" * 64,
    dict.fromkeys(("cell", "field"), (CLEAN, INFECTED)),
    dict.fromkeys(SIGNS, SIGN),
)
CASE = Case(
    site="Organization/ward",
    version=f"malaria-cell-1.2.3-{'a' * 12}-{'b' * 12}",
    device="Device/d1",
    kind="field",
    at=AT,
    images=2,
    refused=0,
    scores=(96, 1, 0, 0, 0, 0, 0, 0, 1, 2),
)


def spread(count: int) -> list[Case]:
    """As many cases, with signs as the reference has them."""
    values = [(5.0, 15.0), (25.0, 35.0)]
    return [
        replace(CASE, signs=dict.fromkeys(SIGNS, values[number % 2])) for number in range(count)
    ]


def judged(cases: list[Case]) -> dict[str, Figure]:
    return {figure.code: figure for figure in figures(cases, REFERENCE, LIMITS)}


def test_steady_cases_are_steady() -> None:
    found = judged([replace(case, agreement="accept") for case in spread(60)])

    assert {code: figure.verdict for code, figure in found.items()} == dict.fromkeys(
        (*FIGURES, "agreement"), Verdict.STEADY
    )


def test_fewer_cases_than_the_least_are_not_judged_however_bad() -> None:
    bad = [replace(case, refused=2, agreement="reject") for case in spread(LIMITS.least - 1)]

    assert {figure.verdict for figure in judged(bad).values()} == {Verdict.TOO_FEW}


def test_images_of_another_stain_are_to_be_watched_and_hold_nothing() -> None:
    moved = [replace(case, signs={**case.signs, "stain": (35.0, 39.0)}) for case in spread(40)]

    found = judged(moved)

    assert found["stain"].verdict is Verdict.WATCH
    assert found["brightness"].verdict is Verdict.STEADY


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [((60, 1, 1, 1, 1, 1, 1, 1, 1, 32), Verdict.STEADY),
     ((1, 2, 10, 20, 30, 20, 10, 4, 2, 1), Verdict.EXCEEDED)],
    ids=["more infected cells", "unsure of most cells"],
)  # fmt: skip
def test_scores_exceed_when_no_share_of_infected_cells_explains_them(
    scores: tuple[int, ...], verdict: Verdict
) -> None:
    assert judged([replace(CASE, scores=scores)] * 40)["scores"].verdict is verdict


@pytest.mark.parametrize(
    ("rejected", "verdict"),
    [(2, Verdict.STEADY), (9, Verdict.WATCH), (20, Verdict.EXCEEDED)],
)
def test_overrides_are_judged_by_the_lower_end_of_their_interval(
    rejected: int, verdict: Verdict
) -> None:
    cases = [replace(CASE, agreement="reject" if n < rejected else "accept") for n in range(45)]

    figure = judged(cases)["overrides"]

    assert (figure.hits, figure.total, figure.verdict) == (rejected, 45, verdict)


def test_what_nobody_judged_is_in_no_share() -> None:
    unread = [replace(CASE, agreement=said) for said in [None, "not-assessed"] * 40]

    assert judged(unread)["overrides"].verdict is Verdict.TOO_FEW


def test_the_images_of_one_case_are_not_taken_for_as_many_cases() -> None:
    many = [replace(CASE, images=50, refused=18)] * 40

    low = judged(many)["refusals"].low

    assert low is not None
    assert low < 0.25


def test_scores_of_other_weights_have_no_reference() -> None:
    other = [replace(CASE, version="malaria-cell-9-ffffffffffff-b")] * 40

    assert judged(other)["scores"].verdict is Verdict.NO_REFERENCE


def test_the_report_is_valid_and_says_the_same_whenever_it_is_made() -> None:
    cases = [replace(case, agreement="reject") for case in spread(40)]
    window = Window("Organization/ward", str(CASE.version), "Device/d1", AT, AT)
    found = figures(cases, REFERENCE, LIMITS)

    report, later = drift_report(window, found, AT), drift_report(window, found, datetime.now(UTC))

    assert Validator().issues(report) == ()
    assert is_same(report, later)
    assert exceeded(report) == ["Share of results rejected"]
    known = {concept.code: concept.display for concept in MODEL_MONITORING.concepts}
    for group in report["group"]:
        (coding,) = group["code"]["coding"]
        assert coding["display"] == known[coding["code"]]


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    import json

    path = tmp_path / "reference.json"
    path.write_text(json.dumps(as_json(REFERENCE)))

    assert read_reference(path) == REFERENCE


@pytest.mark.parametrize(
    ("old", "new"),
    [("days = 7", "days = 0"), ("least = 30", "least = 3"), ("watch = 0.1", "watch = 0.9"),
     ("[figures.stain]", "[figures.stains]"), ("least = 30", "leest = 30"), ("[", "")],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused_by_file(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(SHIPPED.read_text().replace(old, new))

    with pytest.raises(UnusableLimits, match=r"limits\.toml"):
        read_limits(path)
