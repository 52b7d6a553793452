"""The state changes of an analysis Task."""

from datetime import UTC, datetime, timedelta

import pytest

from fhir_server.fhir.assessment import OUTPUT_REFUSAL, OUTPUT_REPORT, parts
from fhir_server.fhir.outcome import Issue
from fhir_server.validation.validate import Validator
from models import tasks

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
TASK = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"versionId": "1", "lastUpdated": "2026-11-24T08:59:00.000Z"},
    "status": "requested",
    "intent": "order",
    "for": {"reference": "Patient/1"},
    "authoredOn": "2026-11-24T08:59:00+00:00",
}
ISSUE = Issue("error", "processing", "Image 1 refused (focus): out of focus.")


@pytest.mark.parametrize(
    ("status", "updated", "is_open"),
    [
        ("requested", "2026-11-24T09:00:00.000Z", True),
        ("in-progress", "2026-11-24T08:59:00.000Z", True),
        ("in-progress", "2026-11-24T08:59:00.001Z", False),
        ("completed", "2026-11-24T08:00:00.000Z", False),
        ("failed", "2026-11-24T08:00:00.000Z", False),
        ("cancelled", "2026-11-24T08:00:00.000Z", False),
    ],
)
def test_a_task_is_open_when_requested_or_when_its_lease_ran_out(
    status: str, updated: str, is_open: bool
) -> None:
    task = {**TASK, "status": status, "meta": {"lastUpdated": updated}}

    assert tasks.is_open(task, NOW, LEASE) is is_open


def test_a_claim_names_its_owner_and_counts_the_attempt() -> None:
    once = tasks.claimed(TASK, "Device/w", NOW)
    twice = tasks.claimed(once, "Device/w", NOW)

    assert (once["status"], once["owner"]) == ("in-progress", {"reference": "Device/w"})
    assert [tasks.attempts(t) for t in (TASK, once, twice)] == [0, 1, 2]
    assert TASK["status"] == "requested"


def test_a_failed_task_carries_its_reason_as_an_operation_outcome() -> None:
    task = tasks.failed(tasks.claimed(TASK, "Device/w", NOW), [ISSUE], NOW)

    assert task["statusReason"]["text"] == ISSUE.diagnostics
    assert parts(task["output"], OUTPUT_REFUSAL) == ["#refusal"]
    assert task["contained"][0]["resourceType"] == "OperationOutcome"
    assert Validator().issues(task) == ()


def test_a_completed_task_names_its_report_and_what_was_refused() -> None:
    task = tasks.completed(TASK, {OUTPUT_REPORT: ["DiagnosticReport/1"]}, now=NOW, issues=[ISSUE])

    assert parts(task["output"], OUTPUT_REPORT) == ["DiagnosticReport/1"]
    assert parts(task["output"], OUTPUT_REFUSAL) == ["#refusal"]
    assert Validator().issues(task) == ()
