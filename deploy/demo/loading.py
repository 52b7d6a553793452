"""Filling an empty server with the ward, over FHIR as any client would."""

from collections.abc import Callable
from datetime import datetime

import httpx
from joserfc.jwk import ECKey

from deploy.demo.client import CLIENT_ID, demo_key
from deploy.demo.ward import ward
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendClient, BackendToken, FhirClient

_SCOPES = "system/*.cruds system/AuditEvent.rs"


def demo_tokens(http: httpx.AsyncClient, base_url: str, scopes: str = _SCOPES) -> BackendToken:
    """Tokens of the demonstration's own service client."""
    key = ECKey.import_key(demo_key())
    client = BackendClient(CLIENT_ID, key, scopes, f"{base_url}/auth/token")
    return BackendToken(http, client, utc_now, new_id)


def demo_fhir(http: httpx.AsyncClient, base_url: str) -> FhirClient:
    """A FHIR client of the demonstration's own service client."""
    return FhirClient(http, f"{base_url}/fhir", demo_tokens(http, base_url))


async def load_ward(
    http: httpx.AsyncClient, base_url: str, clock: Callable[[], datetime] = utc_now
) -> bool:
    """Load the ward unless some patient is there already; whether it was loaded."""
    fhir = demo_fhir(http, base_url)
    async for _ in fhir.search("Patient", {"_count": "1"}):
        return False
    await fhir.transaction(ward(clock()))
    return True
