"""One process of MedSAGE: the parts of its role, composed into one ASGI application.

    async with composed(settings, origins) as front: …serve front…

In the role `all` the app and the worker reach the server through the same HTTP code as anywhere,
over a transport that calls the application in this process.
"""

import asyncio
import hmac
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version

import httpx
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from prometheus_client import CollectorRegistry

from deploy import analysis, backups, notifying, registrations, tls
from deploy.background import Background, Work
from deploy.clinician import clinician_app
from deploy.demo.loading import load_ward
from deploy.draining import Draining
from deploy.enrolment import Enrolment, enrol
from deploy.front import Front
from deploy.health import health_router
from deploy.keys import keys_of
from deploy.monitoring.certificates import CertificateDates
from deploy.monitoring.requests import MeasuredRequests
from deploy.monitoring.watch import in_trace, watch_process, watch_store
from deploy.openapi import with_fhir_paths
from deploy.process import Process
from deploy.refusals import problems
from deploy.rerouted import Rerouted
from deploy.route_names import NamedPart, fhir_shape
from deploy.shedding import Shedding
from deploy.simulated_ehr.app import create_simulated_ehr
from deploy.tracing import TracingNotInstalled, tracing
from deploy.tracing.requests import TracedRequests, TracedTransport
from fhir_server.app import (
    FhirServer,
    Knowledge,
    background,
    create_server,
    defined,
    knowledge,
    open_store,
    sign_in_rules,
    tenants_of,
)
from fhir_server.backup.problems import BackupFailed
from fhir_server.findings import Status
from fhir_server.indexing.definitions import Definitions
from fhir_server.operations.definitions import definitions as own_definitions
from fhir_server.publication import Publisher, publish
from fhir_server.rest.middleware import RequestIds
from fhir_server.rest.nobody import CountsNobody
from fhir_server.security.limits import RateLimits, read_rules
from fhir_server.security.rate_limit import Counters, MemoryCounters
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import UnusableKeys
from fhir_server.storage.measured import MeasuredStore
from fhir_server.storage.port import Past, ResourceStore
from fhir_server.storage.schema import SchemaMismatch
from fhir_server.storage.snapshot import WholeStore
from fhir_server.system import new_id, utc_now
from terminology import own

_HOOKS = {"request": [in_trace]}
_log = structlog.get_logger("medsage.deploy")
_CLOCK_BEHIND = timedelta(hours=1)
_REDIS_SECONDS = 1.0
"""What a request waits for Redis before it goes on without."""


class RefusedStart(ValueError):
    """The settings must not be run in this profile; the text says which and why."""


class StoreNotOpened(Exception):
    """The store can't be opened, or its server does not answer; the text says what kind of
    failure it was."""


def check_profile(settings: Settings) -> None:
    """RefusedStart for what production must never run with; all of it is named at once."""
    found = problems(settings)
    if found:
        raise RefusedStart("\n".join([f"the profile {settings.profile} refuses to start:", *found]))


@asynccontextmanager
async def composed(
    settings: Settings, origins: Sequence[str] | None = None, draining: Draining | None = None
) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """The running application of a process. `origins` are the addresses that browsers open it
    at, the base URL's among them; the EHR may frame the app from any of them. With `draining` the
    process begins to finish before this is left."""
    check_profile(settings)
    if settings.role in ("all", "server"):
        sign_in_rules(settings)  # what can't be met stops the start before anything is opened
    front = Front()
    async with AsyncExitStack() as stack:
        places = origins or [settings.base_url]
        process = await _process(settings, front, places, draining or Draining(), stack)
        dates = watch_process(process)
        if settings.role in ("all", "server", "worker"):
            await _server_and_worker(process, stack, dates)
        if settings.role in ("all", "app"):
            process.parts["app"] = await clinician_app(process, stack)
        background = Background(process.running)
        process.checks["background"] = background.check
        _finish(process)
        async with background.running():
            process.draining.tell(background.stop)
            if settings.demo and settings.role in ("all", "server"):
                await load_ward(process.http, settings.base_url)
            shedding = Shedding(
                front,
                settings.takes_in_hand,
                process.parts,
                process.refusals,
                registry=process.metrics,
            )
            measured = MeasuredRequests(shedding, process.metrics, process.parts)
            answering = TracedRequests(measured) if process.is_traced else measured
            yield RequestIds(answering, new_id, tls.headers(settings))


def _traced(settings: Settings, stack: AsyncExitStack) -> bool:
    """Whether the spans of this process are recorded; the stack sends what is left."""
    try:
        return stack.enter_context(tracing(os.environ, settings.role))
    except TracingNotInstalled as problem:
        raise RefusedStart(str(problem)) from None


async def _process(
    settings: Settings,
    front: Front,
    origins: Sequence[str],
    draining: Draining,
    stack: AsyncExitStack,
) -> Process:
    is_traced = _traced(settings, stack)
    http = await stack.enter_async_context(_client(settings, front, is_traced))
    return Process(
        settings=settings,
        keys=keys_of(settings),
        origins=origins,
        front=front,
        http=http,
        metrics=CollectorRegistry(),
        # Its pages of documentation would run scripts of other servers here.
        others=FastAPI(
            title="MedSAGE",
            version=version("medsage"),
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        ),
        parts={},
        checks={},
        running=[],
        draining=draining,
        is_traced=is_traced,
    )


def _client(settings: Settings, front: Front, is_traced: bool) -> httpx.AsyncClient:
    """What reaches the server role: the one in this process, or by its inner address."""
    outside: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(
        verify=tls.calling(settings), trust_env=False
    )
    mounts: dict[str, httpx.AsyncBaseTransport] = {}
    if settings.role in ("all", "server"):
        answering = RequestIds(TracedRequests(front) if is_traced else front, new_id)
        mounts[settings.base_url] = httpx.ASGITransport(answering, raise_app_exceptions=False)
    else:
        inner = settings.server_url or settings.base_url
        outside = Rerouted(outside, settings.base_url, inner)
    if is_traced:
        outside = TracedTransport(outside)
        mounts = {origin: TracedTransport(each) for origin, each in mounts.items()}
    return httpx.AsyncClient(
        transport=outside, mounts=mounts, timeout=30, trust_env=False, event_hooks=_HOOKS
    )


async def _server_and_worker(
    process: Process, stack: AsyncExitStack, dates: CertificateDates
) -> None:
    """What needs the store: everything but the app."""
    settings = process.settings
    opened = await _opened(settings)
    store = MeasuredStore(opened, process.metrics)
    stack.push_async_callback(store.close)
    process.checks["store"] = store.check
    process.readiness.doubts["store"] = lambda: opened.is_away
    await _go_on_from(store)
    known = await asyncio.to_thread(knowledge, f"{settings.base_url}/fhir")
    definitions = await defined(store, known)
    board = watch_store(process, store, known, dates)
    process.running.append(Work(definitions.run))
    # The app counts the people of other record systems itself: here they all are the app.
    rules = read_rules(f"diagnoses@user:{registrations.APP}=none,{settings.rate_limits}")
    process.limits = RateLimits(rules, _counters(process, stack))
    server = None
    if settings.role != "worker":
        server = await _server(process, store, (known, definitions), board)
        process.running.append(Work(server.run_jobs, server.stop_jobs))
    if settings.role != "server":
        process.running += map(
            Work,
            await background(
                settings,
                store,
                (known, definitions),
                await notifying.ways(process, stack),
                process.metrics,
            ),
        )
        _back_up(process, opened, stack)
    await analysis.add(process, server)


async def _go_on_from(store: ResourceStore) -> None:
    """Let this process tell no time before the newest version's, which a clock that was put back
    would. Beyond a limit it is that version's time which is not to be believed."""
    versions = (await store.history(Past(limit=1))).versions
    if versions and versions[0].updated - utc_now() <= _CLOCK_BEHIND:
        utc_now.begin_at(versions[0].updated)
    elif versions:
        _log.error("the clock is far behind the newest version", see="medsage check")


async def _opened(settings: Settings) -> WholeStore:
    try:
        return await open_store(settings)
    except UnusableKeys as problem:
        raise RefusedStart(f"MEDSAGE_ENCRYPTION_KEY_FILE: {problem}") from None
    except SchemaMismatch as problem:
        raise RefusedStart(str(problem)) from None
    except Exception as problem:
        # The text of a driver's error may quote the address with its password.
        raise StoreNotOpened(f"the store can't be opened: {type(problem).__name__}") from problem


async def _server(
    process: Process,
    store: ResourceStore,
    meaning: tuple[Knowledge, Definitions],
    status: Status,
) -> FhirServer:
    settings, keys = process.settings, process.keys
    known, definitions = meaning
    await registrations.register(
        store, registrations.own_clients(settings.base_url, keys, process.origins)
    )
    if settings.demo:
        await registrations.register(store, registrations.demo_clients(keys, process.origins))
        await registrations.register_demo_users(store)
        process.parts["ehr"] = create_simulated_ehr(
            process.http,
            keys.ehr,
            server_origin=settings.base_url,
            origins=tuple(process.origins),
            app_origin=settings.base_url,
        )
    base_url = f"{settings.base_url}/fhir"
    publisher = Publisher(store, known.extract, utc_now, new_id, base_url)
    await publish(publisher, [*own.resources(), *own_definitions()])
    here = await asyncio.to_thread(analysis.versions_here, settings)
    enrolment = Enrolment(
        store=store,
        scope=known.scope,
        extract=known.extract,
        clock=utc_now,
        new_id=new_id,
        base_url=base_url,
        follows_release=settings.demo,
    )
    for owner in sorted(tenants_of(settings)):
        await enrol(replace(enrolment, owner=owner), here)
    server = await create_server(
        settings,
        store,
        known,
        definitions,
        limits=process.limits,
        # Each use of the secret has a key of its own.
        cursor_key=hmac.digest(keys.secret, b"search cursors", "sha256"),
        metrics=process.metrics,
        status=status,
    )
    process.parts |= {"fhir": server.fhir, "auth": server.authorization}
    process.front.discovery = server.discovery
    return server


def _back_up(process: Process, store: WholeStore, stack: AsyncExitStack) -> None:
    """Make backups by themselves, where the settings say where to."""
    try:
        schedule = backups.schedule_of(process.settings, store, process.metrics)
    except BackupFailed as problem:
        raise RefusedStart(f"backups: {problem}") from None
    if schedule is not None:
        stack.push_async_callback(schedule.target.close)
        process.running.append(Work(schedule.run))


def _counters(process: Process, stack: AsyncExitStack) -> Counters:
    """Rate limits in Redis when its address is set, else in this process."""
    if process.settings.redis_url is None:
        return MemoryCounters(utc_now)
    from fhir_server.storage.redis.connect import connect
    from fhir_server.storage.redis.counters import RedisCounters
    from fhir_server.storage.redis.steady import SteadyCounters

    url = process.settings.redis_url.get_secret_value()
    redis = connect(url, _REDIS_SECONDS, process.settings.tls_ca_file)
    stack.push_async_callback(redis.aclose)
    return SteadyCounters(RedisCounters(redis), MemoryCounters(utc_now))


def _finish(process: Process) -> None:
    """The routes that are left, and the front opened."""
    process.others.include_router(
        health_router(
            process.readiness, process.metrics, version("medsage"), process.before_metrics
        )
    )

    @process.others.get("/", include_in_schema=False)
    async def home(_: Request) -> RedirectResponse:
        return RedirectResponse("/app/")

    if "fhir" in process.parts:
        with_fhir_paths(process.others)
    # `/api` answers with the caller's own token and knows nobody itself.
    process.front.others = NamedPart("", CountsNobody(process.others, process.limits))
    process.parts |= {
        name: NamedPart(f"/{name}", part, fhir_shape if name == "fhir" else None)
        for name, part in process.parts.items()
    }
    process.front.parts = process.parts
