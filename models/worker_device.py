"""What the worker keeps on the FHIR server about itself: its Device and its Subscription."""

from typing import Any

from fhir_server.fhir.assessment import CANONICAL, SUBSCRIPTION_CRITERIA
from fhir_server.fhir.model_versions import SHADOW_RESULT
from models.fhir_client import FhirClient

Resource = dict[str, Any]

WORKERS = f"{CANONICAL}/identifier/worker"
NAME = "medsage-worker"
# All that the worker does, and no more; conditional creates need to search.
SCOPES = (
    "system/Task.rus system/Patient.r system/Media.cr system/Binary.cr "
    "system/QuestionnaireResponse.r system/Observation.cr system/DiagnosticReport.c "
    "system/Provenance.c system/AuditEvent.c system/Device.crs system/DocumentReference.crs "
    "system/Subscription.crus system/Encounter.r system/HealthcareService.rs "
    # What versions say in the shadow; no other scope shows what bears this label.
    f"system/Basic.cs?_security={SHADOW_RESULT['system']}|{SHADOW_RESULT['code']}"
)
SECRET_HEADER = "X-MedSAGE-Notification"  # noqa: S105 - the header's name


async def worker_device(fhir: FhirClient) -> str:
    """The reference of the Device that stands for all workers; made when there is none."""
    query = f"identifier={WORKERS}|{NAME}"
    device = {
        "resourceType": "Device",
        "identifier": [{"system": WORKERS, "value": NAME}],
        "status": "active",
        "deviceName": [{"name": "MedSAGE analysis worker", "type": "user-friendly-name"}],
        "type": {"text": "Software that runs the analyses"},
    }
    return await _found_or_made(fhir, device, query)


async def subscribe(fhir: FhirClient, endpoint: str, secret: str) -> str:
    """The Subscription that wakes the worker at `endpoint`. One that was switched off after
    errors, or that holds another secret, is asked for anew."""
    wanted = subscription(endpoint, secret)
    reference = await _found_or_made(fhir, wanted, f"url={endpoint}")
    current = await fhir.read(reference)
    is_alive = current["status"] in ("requested", "active")
    if not is_alive or current["channel"].get("header") != wanted["channel"]["header"]:
        await fhir.update({**wanted, "id": current["id"]}, current["meta"]["versionId"])
    return reference


def subscription(endpoint: str, secret: str) -> Resource:
    """An R4 rest-hook Subscription without payload: a wake-up and nothing more."""
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "Wakes the analysis worker",
        "criteria": SUBSCRIPTION_CRITERIA,
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "header": [f"{SECRET_HEADER}: {secret}"],
        },
    }


async def _found_or_made(fhir: FhirClient, resource: Resource, query: str) -> str:
    """The one resource that matches `query`: a conditional create, then a look."""
    type_ = resource["resourceType"]
    request = {"method": "POST", "url": type_, "ifNoneExist": query}
    await fhir.transaction(
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"resource": resource, "request": request}],
        }
    )
    name, value = query.split("=", 1)
    async for found in fhir.search(type_, [(name, value)]):
        return f"{type_}/{found['id']}"
    raise LookupError(f"{type_} can't be found after it was made")
