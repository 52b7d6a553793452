"""The watch over the models of a process: its client, its limits, and its gauge for Prometheus."""

import httpx
from joserfc.jwk import ECKey
from prometheus_client import Gauge

from deploy import registrations
from deploy.keys import Jwk
from deploy.process import Process
from fhir_server.system import new_id, utc_now
from models.fhir_client import BackendClient, BackendToken, FhirClient
from models.monitoring.holds import MODEL
from models.monitoring.limits import read_limits
from models.monitoring.reference import read_reference
from models.monitoring.watch import SCOPES, DriftWatch


def drift_watch(process: Process) -> DriftWatch:
    """The watch of the worker role; UnusableLimits or UnusableReference stop the start."""
    gauge = Gauge(
        "medsage_ai_readings_held",
        "Sites whose AI reading of images is held",
        ("model",),
        registry=process.metrics,
    ).labels(MODEL)
    return DriftWatch(
        monitor_client(process.http, process.settings.base_url, process.keys.worker),
        read_limits(process.settings.drift_limits_file),
        read_reference(),
        new_id,
        clock=utc_now,
        told=gauge.set,
    )


def monitor_client(http: httpx.AsyncClient, base_url: str, key: Jwk) -> FhirClient:
    """The FHIR client of the watch at the server of this address."""
    client = BackendClient(
        registrations.MONITOR, ECKey.import_key(key), SCOPES, f"{base_url}/auth/token"
    )
    return FhirClient(http, f"{base_url}/fhir", BackendToken(http, client, utc_now, new_id))
