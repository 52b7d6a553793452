"""The watch over the models of a process: its client, its limits, and its metrics."""

import httpx
from joserfc.jwk import ECKey

from deploy import registrations
from deploy.keys import Jwk
from deploy.process import Process
from fhir_server.load_settings import UnusableSettings
from fhir_server.settings import Settings
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendClient, BackendToken, FhirClient
from models.monitoring.drift_metrics import DriftMetrics
from models.monitoring.limits import Limits, UnusableLimits, read_limits
from models.monitoring.reference import read_reference
from models.monitoring.watch import SCOPES, DriftWatch


def drift_watch(process: Process) -> DriftWatch:
    """The watch of the worker role; UnusableSettings for a file of limits that is wrong."""
    metrics = DriftMetrics(process.metrics)
    return DriftWatch(
        monitor_client(process.http, process.settings.base_url, process.keys.worker),
        limits_of(process.settings),
        read_reference(),
        new_id,
        clock=utc_now,
        told=metrics.held,
        seen=metrics.seen,
    )


def limits_of(settings: Settings) -> Limits:
    """The limits in force; UnusableSettings names the file and what is wrong with it."""
    try:
        return read_limits(settings.drift_limits_file)
    except UnusableLimits as wrong:
        raise UnusableSettings(f"MEDSAGE_DRIFT_LIMITS_FILE: {wrong}") from wrong


def monitor_client(http: httpx.AsyncClient, base_url: str, key: Jwk) -> FhirClient:
    """The FHIR client of the watch at the server of this address."""
    client = BackendClient(
        registrations.MONITOR, ECKey.import_key(key), SCOPES, f"{base_url}/auth/token"
    )
    return FhirClient(http, f"{base_url}/fhir", BackendToken(http, client, utc_now, new_id))
