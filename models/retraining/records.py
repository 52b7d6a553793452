"""Signed reports with their readings, feedback, Consents and images, read over FHIR."""

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.assessment import FINDINGS
from fhir_server.fhir.double_reading import images_of, is_of_images
from fhir_server.fhir.feedback import ADJUDICATED_READING, AI_FEEDBACK, FIRST_READING
from models.fhir_client import FhirClient
from models.retraining.cases import Record

Resource = dict[str, Any]

REPORT = f"{FINDINGS}|malaria-assessment-ai"
_PAGE = ("_count", "100")


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of an image, the version of the Media that they came from, and their SHA-256."""

    media: str
    content: bytes
    sha256: str


async def read_records(fhir: FhirClient) -> AsyncIterator[Record]:
    """All signed reports on malaria, patient by patient in the order of their references."""
    query = [("code", REPORT), ("status", "final,amended,corrected"), _PAGE]
    of_patient: dict[str, list[Resource]] = {}
    async for report in fhir.search("DiagnosticReport", query):
        of_patient.setdefault(report["subject"]["reference"], []).append(report)
    for patient in sorted(of_patient):
        consents = await read_consents(fhir, patient)
        said = await _observations(fhir, patient)
        for report in sorted(of_patient[patient], key=lambda each: str(each["id"])):
            feedback, readings = _about(report, said)
            yield Record(report, readings, feedback, consents, fhir.base_url)


async def read_consents(fhir: FhirClient, patient: str) -> list[Resource]:
    """All Consents of a patient, whatever they say."""
    return [each async for each in fhir.search("Consent", [("patient", patient), _PAGE])]


async def read_picture(fhir: FhirClient, media: str) -> Picture:
    """The image of a Media; ValueError when it is not stored here."""
    found = await fhir.read(media)
    content = found.get("content", {})
    coded = content.get("data")
    if coded is None:
        url = str(content.get("url", "")).removeprefix(f"{fhir.base_url}/")
        if not url.startswith("Binary/"):
            raise ValueError(f"{media} has no image here")
        coded = (await fhir.read(url)).get("data", "")
    decoded = base64.b64decode(coded, validate=True)
    version = f"{media}/_history/{found['meta']['versionId']}"
    return Picture(version, decoded, hashlib.sha256(decoded).hexdigest())


async def _observations(fhir: FhirClient, patient: str) -> list[Resource]:
    codes = (FIRST_READING, ADJUDICATED_READING, AI_FEEDBACK["code"])
    wanted = ",".join(f"{FINDINGS}|{code}" for code in codes)
    query = [("patient", patient), ("code", wanted), _PAGE]
    return [each async for each in fhir.search("Observation", query)]


def _about(report: Resource, said: list[Resource]) -> tuple[list[Resource], list[Resource]]:
    """What of a patient's Observations is about this report: its results' feedback, and the
    readings of its images."""
    results = {each.get("reference") for each in report.get("result", ())}
    images = images_of(report)
    feedback, readings = [], []
    for observation in said:
        focus = {each.get("reference") for each in observation.get("focus", ())}
        if _is_feedback(observation):
            feedback += [observation] if focus & results else []
        elif is_of_images(observation, images):
            readings.append(observation)
    return feedback, readings


def _is_feedback(observation: Resource) -> bool:
    codings = observation.get("code", {}).get("coding", ())
    return any(each.get("code") == AI_FEEDBACK["code"] for each in codings)
