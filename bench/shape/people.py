"""Who calls: clinics' systems with tokens of their own, clinicians who sign in, and patients."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from joserfc.jwk import ECKey

from bench.shape.ledger import patient_id
from bench.shape.wire import Door
from deploy.keys import public_jwks
from deploy.registrations import register
from fhir_server.app import open_store
from fhir_server.load_settings import load
from fhir_server.security.authorization.clients import Client
from fhir_server.security.authorization.users import User, hash_password, register_user
from fhir_server.storage.port import Transaction
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendClient, BackendToken, FhirClient

Resource = dict[str, Any]

CLINICS = 30
PATIENTS = 200
PASSWORD = "a-password-for-the-load"
SCOPES = "system/*.cruds system/AuditEvent.rs"
_AT_ONCE = 50
_EARLY_SECONDS = 120.0
"""Of the five minutes that a token is good for: an outage must not outlast it."""
_VISIT_CLASS = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}


def clinician(number: int) -> str:
    """The sign-in name of the clinician of this number."""
    return f"load-clinician-{number}"


def clinic(number: int) -> str:
    """The client id of the clinic of this number."""
    return f"load-clinic-{number}"


async def enrol(environment: Mapping[str, str], clinicians: int) -> ECKey:
    """Register clinics and clinicians in the store that the settings name; the clinics' key."""
    settings, _ = load(environment)
    key = ECKey.generate_key("P-384", {"kid": "load"}, private=True)
    jwks = public_jwks(dict(key.as_dict(private=True)))
    grants = frozenset({"client_credentials"})
    clients = [
        Client(clinic(n), f"Clinic {n}", SCOPES, grant_types=grants, jwks=jwks)
        for n in range(CLINICS)
    ]
    password = await asyncio.to_thread(hash_password, PASSWORD)

    async def unit(transaction: Transaction) -> None:
        for number in range(clinicians):
            name = clinician(number)
            person = f"Practitioner/{name}"
            user = User(name, f"Dr Load {number}", frozenset({"doctor"}), person)
            await register_user(transaction, user, password)

    store = await open_store(settings)
    try:
        await register(store, clients)
        await store.transaction(unit)
    finally:
        await store.close()
    return key


def tokens(http: httpx.AsyncClient, door: Door, key: ECKey, number: int) -> BackendToken:
    """The tokens of a clinic."""
    client = BackendClient(clinic(number), key, SCOPES, f"{door.origin}/auth/token")
    return BackendToken(http, client, utc_now, new_id, early_seconds=_EARLY_SECONDS)


def fhir(http: httpx.AsyncClient, door: Door, key: ECKey) -> FhirClient:
    """The service as the first clinic's system sees it."""
    return FhirClient(http, f"{door.origin}/fhir", tokens(http, door, key, 0))


async def fill(server: FhirClient, clinicians: int) -> None:
    """Write the people of the load: practitioners, and patients who are here for a visit."""
    people = [_practitioner(number) for number in range(clinicians)]
    for number in range(PATIENTS):
        people += [_patient(number), _visit(number)]
    for start in range(0, len(people), _AT_ONCE):
        entries = [
            {
                "resource": each,
                "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"},
            }
            for each in people[start : start + _AT_ONCE]
        ]
        await server.transaction(
            {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )


def _practitioner(number: int) -> Resource:
    name = [{"family": "Load", "given": [f"Doctor{number}"]}]
    return {"resourceType": "Practitioner", "id": clinician(number), "active": True, "name": name}


def _patient(number: int) -> Resource:
    return {
        "resourceType": "Patient",
        "id": patient_id(number),
        "name": [{"family": f"Family{number:03}", "given": ["Load"]}],
        "gender": "female" if number % 2 else "male",
        "birthDate": f"{1950 + number % 60}-03-17",
    }


def _visit(number: int) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": f"{patient_id(number)}-visit",
        "status": "in-progress",
        "class": _VISIT_CLASS,
        "subject": {"reference": f"Patient/{patient_id(number)}"},
        "period": {"start": datetime.now(UTC).isoformat(timespec="seconds")},
    }
