"""The models of a process: the worker, its wake-up call, the seed's API and the cards."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import structlog
from joserfc.jwk import ECKey

from deploy import registrations, tls
from deploy.background import Work
from deploy.keys import Jwk
from deploy.process import Process
from fhir_server.app import FhirServer
from fhir_server.settings import Settings
from fhir_server.system import new_id, utc_now
from models.analysis import Analysts
from models.app import cards_router, notifications_router, symptom_analyst
from models.diagnose import Diagnosis, diagnose_router, refusals_to
from models.fhir_client import BackendClient, BackendToken, CallerToken, FhirClient, FhirFailure
from models.malaria.calibration import malaria_card
from models.malaria.predict import MalariaModel, check_image
from models.recall import Recaller
from models.symptoms.card import symptom_card
from models.symptoms.gemini import GeminiEndpoint
from models.worker import Pace, Worker
from models.worker_device import SCOPES, subscribe

_RETRY_SECONDS = 1.0
_log = structlog.get_logger("medsage.deploy")


async def add(process: Process, server: FhirServer | None) -> None:
    """Add the parts of the role: `server` None is the role `worker`."""
    fhir = worker_client(process.http, process.settings.base_url, process.keys.worker)
    secret = _notification_secret(process)
    wake: Callable[[], None] = _nothing
    if process.settings.role != "server":
        worker = await _worker(process.settings, fhir)
        wake = worker.wake
        process.running.append(Work(worker.run, worker.stop))
        process.running.append(Work(Recaller(fhir).run))
        process.running.append(Work(_subscription(process, fhir, secret)))
        process.others.include_router(notifications_router(wake, secret))
    if server is not None:
        process.others.include_router(diagnose_router(_diagnosis(process, server, fhir)))
        process.others.include_router(cards_router(lambda: [malaria_card(), symptom_card()]))


def _nothing() -> None:
    """Nobody to wake in this process: the Subscription wakes the worker's own."""


def worker_client(http: httpx.AsyncClient, base_url: str, key: Jwk) -> FhirClient:
    """The FHIR server as the worker reaches it, with its own key."""
    client = BackendClient(
        registrations.WORKER, ECKey.import_key(key), SCOPES, f"{base_url}/auth/token"
    )
    return FhirClient(http, f"{base_url}/fhir", BackendToken(http, client, utc_now, new_id))


async def _worker(settings: Settings, fhir: FhirClient) -> Worker:
    model = await asyncio.to_thread(MalariaModel.load)
    lease = timedelta(seconds=settings.task_lease_seconds)
    pace = Pace(
        concurrency=settings.worker_concurrency,
        lease=lease,
        poll_seconds=min(15.0, settings.task_lease_seconds / 2),
    )
    return Worker(fhir, Analysts(model, symptom_analyst(_gemini(settings))), pace)


def _gemini(settings: Settings) -> GeminiEndpoint | None:
    if settings.gemini_api_key is None:
        return None
    key = settings.gemini_api_key.get_secret_value()
    own = tls.calling(settings) if settings.tls_ca_file else None
    return GeminiEndpoint(key, settings.gemini_model, settings.gemini_base_url, tls=own)


def _subscription(process: Process, fhir: FhirClient, secret: str) -> Callable[[], Awaitable[None]]:
    """Asks for the worker's Subscription until the server has taken it, then rests."""
    origin = process.settings.worker_url or process.settings.base_url

    async def run() -> None:
        while True:
            try:
                await subscribe(fhir, f"{origin}/models/notifications", secret)
                break
            except FhirFailure as failure:
                _log.warning("the Subscription was not taken", status=failure.status)
                await asyncio.sleep(_RETRY_SECONDS)
        await asyncio.Event().wait()

    return run


def _notification_secret(process: Process) -> str:
    """The same in every process that shares the secret key."""
    return hmac.new(process.keys.secret, b"worker notification", "sha256").hexdigest()


def _diagnosis(process: Process, server: FhirServer, worker: FhirClient) -> Diagnosis:
    settings = process.settings
    fhir = FhirClient(process.http, f"{settings.base_url}/fhir", CallerToken(None))
    return Diagnosis(
        fhir=fhir,
        check_image=check_image,
        authenticate=server.smart.verifier.verify,
        refused=refusals_to(worker, utc_now),
        is_open_access=settings.open_access,
        most_upload_bytes=settings.max_upload_bytes,
    )
