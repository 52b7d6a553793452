"""What a recall says about one report: a DetectedIssue, a Task to look again, a Provenance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.assessment import copied_chart_tags
from fhir_server.fhir.recalls import (
    MARK_OF_RECALL,
    OPERATORS,
    RECALL_REVIEW,
    RECALLED,
    Recall,
)
from fhir_server.fhir.reference import ID

Resource = dict[str, Any]

_PEOPLE = "Practitioner|PractitionerRole|Patient|RelatedPerson"


@dataclass(frozen=True)
class Notice:
    """Which recall, of which Device, told by whom (the worker's Device) and when (an instant)."""

    recall: Recall
    device: str
    by: str
    when: str


def signer_of(report: Resource) -> str | None:
    """Who signed last, None while nobody has."""
    if report["status"] == "preliminary":
        return None
    signers = [each.get("reference") for each in report.get("resultsInterpreter", ())]
    return next((each for each in reversed(signers) if each), None)


def detected_issue(notice: Notice, report: Resource) -> Resource:
    """Why the report can't be relied on any more; the report's own content stays as signed."""
    issue = {
        "resourceType": "DetectedIssue",
        "identifier": [_identifier(notice, report)],
        "status": "final",
        "code": {"coding": [RECALLED]},
        "severity": "high",
        "identifiedDateTime": notice.when,
        "author": {"reference": notice.by},
        "implicated": [{"reference": f"DiagnosticReport/{report['id']}"}],
        "evidence": [{"detail": [{"reference": notice.device}]}],
        "detail": notice.recall.reason,
    }
    if "subject" in report:
        issue["patient"] = report["subject"]
    return _in_chart(issue, report)


def review_task(notice: Notice, report: Resource, issue: str, owner: str | None) -> Resource:
    """The order to look again at the report, for `owner`; without one, for whoever takes it."""
    task = {
        "resourceType": "Task",
        "identifier": [_identifier(notice, report)],
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": {"coding": [RECALL_REVIEW], "text": RECALL_REVIEW["display"]},
        "description": "An AI result in this report was recalled: assess the patient again "
        "without it, and amend the report where it is needed.",
        "focus": {"reference": f"DiagnosticReport/{report['id']}"},
        "authoredOn": notice.when,
        "lastModified": notice.when,
        "requester": {"reference": notice.by},
        "reasonCode": {"text": notice.recall.reason},
        "reasonReference": {"reference": issue},
    }
    if "subject" in report:
        task["for"] = report["subject"]
    if "encounter" in report:
        task["encounter"] = report["encounter"]
    if owner is not None:
        task["owner"] = {"reference": owner}
    return _in_chart(task, report)


def mark_provenance(notice: Notice, targets: Sequence[str]) -> Resource:
    """Who put the mark on, and on whose behalf: a signed report is not changed in silence."""
    system = "http://terminology.hl7.org/CodeSystem"
    participants = f"{system}/provenance-participant-type"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": each} for each in targets],
        "recorded": notice.when,
        "reason": [{"coding": [RECALLED], "text": notice.recall.reason}],
        "activity": {"coding": [{"system": f"{system}/v3-DataOperation", "code": "UPDATE"}]},
        "agent": [
            {"type": {"coding": [{"system": participants, "code": code}]}, "who": who}
            for code, who in (
                ("enterer", {"reference": notice.by}),
                ("author", _ordered_by(notice.recall)),
            )
        ],
        "entity": [{"role": "source", "what": {"reference": notice.device}}],
    }


def _ordered_by(recall: Recall) -> Resource:
    """A person by reference, an operator by their account; else the name that they call under."""
    if recall.operator is not None:
        who = {"system": OPERATORS, "value": recall.operator}
        return {"identifier": who, "display": f"operator {recall.operator}"}
    is_reference = re.fullmatch(f"(?:{_PEOPLE})/{ID}", recall.by)
    return {"reference" if is_reference else "display": recall.by}


def _identifier(notice: Notice, report: Resource) -> Resource:
    return {"system": MARK_OF_RECALL, "value": f"{notice.recall.id}.{report['id']}"}


def _in_chart(resource: Resource, report: Resource) -> Resource:
    """With the tags of a copied chart, where the report is in one."""
    tags = copied_chart_tags(report)
    return {**resource, "meta": {"tag": tags}} if tags else resource
