"""What an assessment must have left on the server, read back over FHIR."""

import base64
import json
from typing import Any

import httpx

from tests.journeys.running import Installation, eventually

Resource = dict[str, Any]
AI = "AIAST"


def final_report(service: Installation, report_id: str, patient: str, conclusion: str) -> Resource:
    """The signed report: final, about this patient, in the words of who signed, with images,
    results of AI that say so, and the version before it still there."""
    report = service.read(f"DiagnosticReport/{report_id}")
    assert report["status"] == "final"
    assert report["subject"]["reference"] == patient
    assert report["conclusion"] == conclusion
    assert AI in [label["code"] for label in report["meta"]["security"]]
    draft = service.read(f"DiagnosticReport/{report_id}/_history/1")
    assert draft["status"] == "preliminary"
    assert draft["conclusion"] != conclusion
    return report


def ai_results(service: Installation, report: Resource) -> list[Resource]:
    """The Observations of the report that a model wrote."""
    results = [service.read(each["reference"]) for each in report["result"]]
    return [
        each
        for each in results
        if AI in [label["code"] for label in each.get("meta", {}).get("security", ())]
    ]


def provenances(service: Installation, report: Resource, practitioner: str) -> None:
    """Provenance of what the AI wrote, by a Device, and of the signature, by its verifier, over
    the very report."""
    target = f"DiagnosticReport/{report['id']}"
    found = service.search("Provenance", target=target)
    signed = [each for each in found if "signature" in each]
    by_ai = [each for each in found if "signature" not in each]
    assert by_ai
    for each in by_ai:
        device = service.read(each["agent"][0]["who"]["reference"])
        assert device["resourceType"] == "Device"
        assert device["version"]
    assert len(signed) == 1
    agent, signature = signed[0]["agent"][0], signed[0]["signature"][0]
    assert agent["type"]["coding"][0]["code"] == "verifier"
    assert agent["who"]["reference"] == signature["who"]["reference"] == practitioner
    assert signed[0]["entity"][0]["what"]["reference"] == f"{target}/_history/1"
    _, payload, _ = base64.b64decode(signature["data"]).decode().split(".")
    assert json.loads(base64.urlsafe_b64decode(payload + "==="))["resource"] == target


def audited(service: Installation, report: Resource, practitioner: str) -> None:
    """The AuditEvents: launch, sign-in, the analysis, the report's creation and signature, and
    two prints; found by the auditor, refused to the doctor, and not to be changed."""
    patient = report["subject"]["reference"]
    with service.as_user("auditor") as auditor:

        def count(**query: str) -> int:
            return len(service.search("AuditEvent", auditor, **query))

        # Sealed a moment after the commit that journaled them.
        prints = {"patient": patient, "subtype": "print", "agent": practitioner}
        assert eventually(lambda: count(**prints), lambda n: n >= 2) == 2
        printed = service.search("AuditEvent", auditor, **prints)
        described = {each["entity"][-1]["description"] for each in printed}
        assert described == {"report", "prescription"}
        about = {"patient": patient, "entity": f"DiagnosticReport/{report['id']}"}
        today = f"ge{report['issued'][:10]}"
        assert count(subtype="launch", entity=patient, agent=practitioner)
        assert count(subtype="110122", agent=practitioner, date=today)
        assert count(subtype="ai-result", **about) == 1
        assert count(subtype="signature", agent=practitioner, **about) == 1
        assert count(action="C", subtype="create", **about) == 1
        signed = {"action": "U", "subtype": "update", "agent": practitioner, "date": today, **about}
        assert eventually(lambda: count(**signed), lambda n: n >= 1) == 1
        event = service.search("AuditEvent", auditor, subtype="signature", **about)[0]
        _refused(auditor.put(f"AuditEvent/{event['id']}", json=event), 403, 405)
        _refused(auditor.delete(f"AuditEvent/{event['id']}"), 403, 405)
    with service.as_user("dr.amina") as doctor:
        _refused(doctor.get("AuditEvent", params={"patient": patient}), 403)
        _refused(doctor.delete(f"AuditEvent/{event['id']}"), 403, 405)


def _refused(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
