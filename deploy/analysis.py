"""The models of a process: the worker, its wake-up call, the seed's API and the cards."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial

import httpx
import structlog
from joserfc.jwk import ECKey

from deploy import registrations, tls, watching
from deploy.background import Work
from deploy.keys import Jwk
from deploy.process import Process
from fhir_server.app import FhirServer
from fhir_server.rest.errors import translated
from fhir_server.security.principal import Principal
from fhir_server.settings import Settings
from fhir_server.storage.port import StoreUnavailable
from fhir_server.system import new_id, utc_now
from models.app import cards_router, notifications_router, symptom_analyst
from models.diagnose import Diagnosis, diagnose_router, refusals_to
from models.fhir_client import BackendClient, BackendToken, CallerToken, FhirClient, FhirFailure
from models.lifecycle.analysts import RegisteredAnalysts, shadow_observation
from models.lifecycle.installed import Installed, installed
from models.lifecycle.shadows import Shadows
from models.lifecycle.versions import Versions
from models.malaria.predict import check_image
from models.metrics import MeasuredAnalyst, ModelMetrics
from models.recall import Recaller
from models.symptoms.card import symptom_card
from models.symptoms.gemini import GeminiEndpoint
from models.symptoms.usage import Prices, Usage
from models.worker import Pace, Worker
from models.worker_device import SCOPES, subscribe

_RETRY_SECONDS = 1.0
_log = structlog.get_logger("medsage.deploy")


async def add(process: Process, server: FhirServer | None) -> None:
    """Add the parts of the role: `server` None is the role `worker`."""
    fhir = worker_client(process.http, process.settings.base_url, process.keys.worker)
    secret = _notification_secret(process)
    wake: Callable[[], None] = _nothing
    here = await asyncio.to_thread(versions_here, process.settings)
    if process.settings.role != "server":
        metrics = ModelMetrics(process.metrics)
        analysts = _analysts(process, fhir, here, metrics)
        worker = _worker(process.settings, fhir, analysts, metrics)
        wake = worker.wake
        process.running.append(Work(worker.run, worker.stop))
        process.running.append(Work(Recaller(fhir).run))
        process.running.append(Work(analysts.shadows.run))
        process.running.append(Work(_subscription(process, fhir, secret)))
        watch = watching.drift_watch(process)
        process.running.append(Work(watch.run, watch.stop))
        process.others.include_router(notifications_router(wake, secret))
    if server is not None:
        process.others.include_router(diagnose_router(_diagnosis(process, server, fhir)))
        cards = [*(each.card for each in here.values()), symptom_card()]
        process.others.include_router(cards_router(lambda: cards))


def _nothing() -> None:
    """Nobody to wake in this process: the Subscription wakes the worker's own."""


def worker_client(http: httpx.AsyncClient, base_url: str, key: Jwk) -> FhirClient:
    """The FHIR server as the worker reaches it, with its own key."""
    client = BackendClient(
        registrations.WORKER, ECKey.import_key(key), SCOPES, f"{base_url}/auth/token"
    )
    return FhirClient(http, f"{base_url}/fhir", BackendToken(http, client, utc_now, new_id))


def versions_here(settings: Settings) -> dict[str, Installed]:
    """The model versions on this machine, by key; blocking. RuntimeError when a shipped one is
    damaged."""
    return installed(settings.models_folder, demonstrations=settings.demonstration_models)


def _analysts(
    process: Process, fhir: FhirClient, here: Mapping[str, Installed], metrics: ModelMetrics
) -> RegisteredAnalysts:
    settings = process.settings
    versions = Versions(fhir, here, utc_now)
    prices = Prices(settings.gemini_input_price, settings.gemini_output_price)
    symptoms = symptom_analyst(_gemini(settings), Usage(process.metrics, prices))
    return RegisteredAnalysts(
        versions,
        MeasuredAnalyst(symptoms, metrics),
        Shadows(fhir, versions, shadow_observation, utc_now),
        metrics,
        demonstrations=settings.demonstration_models,
    )


def _worker(
    settings: Settings, fhir: FhirClient, analysts: RegisteredAnalysts, metrics: ModelMetrics
) -> Worker:
    lease = timedelta(seconds=settings.task_lease_seconds)
    pace = Pace(
        concurrency=settings.worker_concurrency,
        lease=lease,
        poll_seconds=min(15.0, settings.task_lease_seconds / 2),
    )
    return Worker(fhir, analysts, pace, metrics=metrics)


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


async def _known(server: FhirServer, authorization: str | None) -> Principal:
    """Whose the token is; FhirError for one that is not good, or a store that is away."""
    try:
        return await server.smart.verifier.verify(authorization)
    except StoreUnavailable as failure:
        raise translated(failure, "-") from failure


def _diagnosis(process: Process, server: FhirServer, worker: FhirClient) -> Diagnosis:
    settings = process.settings
    fhir = FhirClient(process.http, f"{settings.base_url}/fhir", CallerToken(None))
    return Diagnosis(
        fhir=fhir,
        check_image=check_image,
        authenticate=partial(_known, server),
        refused=refusals_to(worker, utc_now),
        is_open_access=settings.open_access,
        most_upload_bytes=settings.max_upload_bytes,
        key_hours=settings.idempotency_hours,
        is_ending=lambda: process.draining.has_begun,
    )
