"""The main job from the terminal: submit, wait for the draft, sign, and read back the trail.

Each step is an ordinary client's: a service submits, a doctor signs in and signs.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filetype
import httpx

from deploy.demo.client import demo_key
from deploy.demo.doctor import doctors_token
from deploy.demo.loading import demo_fhir
from fhir_server.fhir.assessment import OUTPUT_REPORT, Image, Intake, Parties, parts, submission
from fhir_server.fhir.codec import instant
from fhir_server.system import new_id, utc_now
from models.fhir_client import CallerToken, FhirClient
from smart_app.auditing import audit_event
from smart_app.launch.keys import signature_over
from smart_app.reading import final_finding
from smart_app.signing import Signer, final_report, signature_provenance, signed_transaction

Resource = dict[str, Any]
Say = Callable[[str], None]

PATIENT = "ward-1"
DOCTOR = "dr.amina"
PRACTITIONER = "Practitioner/dr-amina"
_VITALS = {"temperature": 39.2, "heart_rate": 112.0, "respiratory_rate": 22.0, "weight": 58.0}
_SYMPTOMS = {"fever": "yes", "chills": "yes", "headache": "yes", "vomiting": "no"}
_WAIT_SECONDS = 90.0
_AUDIT_SECONDS = 10.0


class JobFailed(Exception):
    """A step did not end as it must; the text says which."""


@dataclass
class Job:
    """One run; `found` is what `medsage demo --json` prints."""

    http: httpx.AsyncClient
    base_url: str
    image: Path
    say: Say
    found: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    async def run(self) -> dict[str, Any]:
        """All steps; raises JobFailed, FhirFailure or SignInFailed at the first that fails."""
        fhir = demo_fhir(self.http, self.base_url)
        task = await self._submit(fhir)
        task = await self._finished(fhir, task)
        report = await fhir.read(parts(task.get("output", ()), OUTPUT_REPORT)[0])
        self.found["seconds_to_preliminary"] = self._seconds()
        self.say(f"Draft report {report['id']} ({report['status']}): {report['conclusion']}")
        token = await doctors_token(self.http, self.base_url, DOCTOR)
        signed = await self._sign(fhir.with_tokens(CallerToken(token)), report)
        self.say(f"Signed by {DOCTOR}: {signed['status']}")
        await self._trail(fhir, signed)
        self.found["seconds_total"] = self._seconds()
        return self.found

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._began, 3)

    async def _submit(self, fhir: FhirClient) -> Resource:
        content = self.image.read_bytes()
        kind = filetype.guess_mime(content) or "application/octet-stream"
        intake = Intake(
            utc_now(),
            vitals=_VITALS,
            symptoms=_SYMPTOMS,
            symptoms_text="Fever and chills for two days",
            images=[Image(content, kind, self.image.name)],
        )
        bundle = submission(
            intake,
            Parties(f"Patient/{PATIENT}", PRACTITIONER, f"Encounter/{PATIENT}-visit"),
            new_id,
        )
        answer = await fhir.transaction(bundle)
        made = [entry["resource"] for entry in answer["entry"]]
        task: Resource = made[-1]
        media = [each["id"] for each in made if each["resourceType"] == "Media"]
        self.found |= {"task": task["id"], "media": media[0]}
        self.say(f"Submitted: Task {task['id']} with {len(made) - 1} inputs")
        return task

    async def _finished(self, fhir: FhirClient, task: Resource) -> Resource:
        """The Task once it has ended; JobFailed unless it was completed."""
        status, reference = "", f"Task/{task['id']}"
        while self._seconds() < _WAIT_SECONDS:
            task = await fhir.read(reference)
            if task["status"] != status:
                status = task["status"]
                self.say(f"Task is {status}")
            if status in ("completed", "failed", "rejected", "cancelled"):
                break
            await asyncio.sleep(0.1)
        if status != "completed":
            why = task.get("statusReason", {}).get("text", "it did not end in time")
            raise JobFailed(f"the Task is {status}: {why}")
        return task

    async def _sign(self, fhir: FhirClient, report: Resource) -> Resource:
        signer = Signer(PRACTITIONER, "Dr Amina Njoroge", instant(utc_now()))
        url = f"urn:uuid:{new_id()}"
        chosen = {"finding": "parasites-seen", "agreement": "accept"}
        finding = final_finding(report, PRACTITIONER, chosen, signer.when)
        final = final_report(report, signer, finding, conclusion=report["conclusion"], url=url)
        jws = signature_over(final, demo_key(), signer=PRACTITIONER, when=signer.when)
        evidence = (
            signature_provenance(final, signer, jws),
            audit_event("signature", final, PATIENT, signer),
        )
        await fhir.transaction(signed_transaction(final, finding, evidence, finding_url=url))
        signed = await fhir.read(f"DiagnosticReport/{report['id']}")
        if signed["status"] != "final":
            raise JobFailed(f"the report is {signed['status']} after it was signed")
        self.found["report"] = {"id": signed["id"], "status": signed["status"]}
        return signed

    async def _trail(self, fhir: FhirClient, report: Resource) -> None:
        """Provenance of the report, and the AuditEvents about it once they are sealed."""
        target = f"DiagnosticReport/{report['id']}"
        traced = [each async for each in fhir.search("Provenance", {"target": target})]
        by_ai = [each for each in traced if "signature" not in each]
        if not by_ai or len(by_ai) == len(traced):
            raise JobFailed("Provenance of the AI result or of the signature is missing")
        self.found["provenance"] = by_ai[0]["id"]
        self.found["provenances"] = [each["id"] for each in traced]
        deadline = time.perf_counter() + _AUDIT_SECONDS
        events: list[Resource] = []
        while not _is_signed(events) and time.perf_counter() < deadline:
            events = [each async for each in fhir.search("AuditEvent", {"entity": target})]
            await asyncio.sleep(0.1)
        if not _is_signed(events):
            raise JobFailed("the AuditEvents of the report were not found in time")
        self.found["audit_events"] = len(events)
        self.say(f"Traced: {len(traced)} Provenance, {len(events)} AuditEvents about the report")


def _is_signed(events: list[Resource]) -> bool:
    """Whether creation and update of the report are among the events."""
    return {"C", "U"} <= {event.get("action") for event in events}
