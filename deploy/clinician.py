"""The clinician's app of a process, with its sessions in Redis or in memory."""

from contextlib import AsyncExitStack

from starlette.types import ASGIApp

from deploy import registrations
from deploy.background import Work
from deploy.cell_check import cell_check
from deploy.process import Process
from fhir_server.security.limits import read_rules
from fhir_server.system import new_id, utc_now
from smart_app.app import create_app
from smart_app.ehr.resending import send_forever
from smart_app.issuers import AppConfig, Issuer
from smart_app.refusals import busy
from smart_app.registered import RegisteredIssuers
from smart_app.sessions import RedisSessionStore, SessionStore

_REDIS_SECONDS = 5.0
"""What a page waits for its session."""


async def clinician_app(process: Process, stack: AsyncExitStack) -> ASGIApp:
    """The app for launches from our own server and the registered ones; `stack` closes what it
    opens. BadRegistration when their file can't be used."""
    settings = process.settings
    issuer = Issuer(
        name="MedSAGE",
        fhir_base=f"{settings.base_url}/fhir",
        client_id=registrations.APP,
        private_jwk=process.keys.app,
        frame_ancestors=tuple(process.origins),
    )
    config = AppConfig(
        base_url=settings.base_url,
        issuers=(issuer,),
        foreign=RegisteredIssuers(settings.issuers_file, process.keys.app, issuer.fhir_base),
        secret=process.keys.secret,
        session_seconds=settings.session_seconds,
        max_upload_bytes=settings.max_upload_bytes,
        cell_check=cell_check(),
        analyses_an_hour=read_rules(settings.rate_limits)["diagnoses", "", ""],
        is_ending=lambda: process.draining.has_begun,
    )
    store = await _sessions(process, stack)
    app = create_app(config, process.http, store=store, clock=utc_now, new_id=new_id)
    process.refusals["app"] = busy(app.state.parts)
    process.running.append(Work(lambda: send_forever(app.state.parts)))
    return app


async def _sessions(process: Process, stack: AsyncExitStack) -> SessionStore | None:
    if process.settings.redis_url is None:
        return None
    from fhir_server.storage.redis.connect import connect
    from smart_app.steady_sessions import SteadySessions

    url = process.settings.redis_url.get_secret_value()
    redis = connect(url, _REDIS_SECONDS, process.settings.tls_ca_file)
    stack.push_async_callback(redis.aclose)
    process.checks["redis"] = redis.ping
    # Every process would leave at once, with pages that say what is the matter, and with FHIR.
    process.readiness.borne.add("redis")
    return SteadySessions(RedisSessionStore(redis))
