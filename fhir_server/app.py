"""The FHIR server and its authorization server, put together: the only place that names concrete
storage adapters. What runs behind the requests (sealing, Subscriptions) is in `background`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx2
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.sealer import Sealer, signer_of
from fhir_server.findings import Status, nothing_known
from fhir_server.indexing.definitions import Definitions
from fhir_server.indexing.reindex import Reindexer
from fhir_server.load_settings import UnusableSettings
from fhir_server.rest.capability import ServerFacts
from fhir_server.rest.dispatch import FhirApplication, FhirParts
from fhir_server.rest.job_runner import JobRunner
from fhir_server.rest.jobs import JobLimits
from fhir_server.rest.metrics import FhirMetrics
from fhir_server.rights.withdrawal import Withdrawals
from fhir_server.search.extract import Extractor
from fhir_server.search.live import LiveSearch
from fhir_server.search.page import CursorSealer
from fhir_server.search.plan import Scope
from fhir_server.search.registry import Registry
from fhir_server.security import loopback
from fhir_server.security.authorization.app import (
    authorization_server,
    create_authorization,
    create_discovery,
)
from fhir_server.security.authorization.authorize import Lifetimes
from fhir_server.security.authorization.charts import Charts
from fhir_server.security.authorization.metrics import AuthorizationMetrics
from fhir_server.security.authorization.passwords import BrokenPasswords, PasswordRules
from fhir_server.security.authorization.providers import BadProvider, read_providers
from fhir_server.security.authorization.rules import SignInRules
from fhir_server.security.authorization.server import AuthorizationServer, is_registered_origin
from fhir_server.security.authorization.users import SHORTEST_PASSWORD
from fhir_server.security.checked_fetch import CheckedFetch, Network, Reach, networks_from
from fhir_server.security.circumstances import Policy
from fhir_server.security.emergency_ends import EmergencyEnds
from fhir_server.security.endpoints import Endpoints
from fhir_server.security.guard_terms import with_guard_terms
from fhir_server.security.keys import open_key_ring
from fhir_server.security.limits import RateLimits
from fhir_server.security.principal import Principal, own_principal
from fhir_server.security.rulebook import Rulebook, prepare
from fhir_server.security.tenants import DEFAULT
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import read_master_keys
from fhir_server.storage.port import ResourceStore, Terms
from fhir_server.storage.snapshot import WholeStore
from fhir_server.subscriptions.deliver import Deliverer
from fhir_server.subscriptions.metrics import SubscriptionMetrics
from fhir_server.subscriptions.notify import Follower
from fhir_server.subscriptions.owners import Owners
from fhir_server.subscriptions.state import FollowerParts
from fhir_server.system import new_id, utc_now
from fhir_server.tls import trusting
from fhir_server.validation.validate import Validator

ITSELF = own_principal("medsage-server", "MedSAGE server")
"""Who the audit trail says it was when the server did something unasked."""


@dataclass(frozen=True)
class Knowledge:
    """What FHIR is made of, built once per process: search parameters and extraction, for the
    FHIR base at `base_url`. `scope` is what is judged in hand, without an index, is planned in."""

    base_url: str
    live: LiveSearch
    scope: Callable[[], Scope]

    @property
    def extract(self) -> Callable[[dict[str, Any]], Terms]:
        """The extractor by the search parameters of now."""
        return self.live.extract


@dataclass(frozen=True)
class FhirServer:
    """The parts that answer requests: the FHIR base, its SMART discovery document, and the
    authorization server with its pages; `run_jobs` answers, until it is cancelled, the requests
    that are to be answered later; after `stop_jobs` it returns when none is under way."""

    fhir: ASGIApp
    discovery: ASGIApp
    authorization: ASGIApp
    smart: AuthorizationServer
    run_jobs: Callable[[], Awaitable[None]]
    stop_jobs: Callable[[], None]


async def open_store(settings: Settings) -> WholeStore:
    """MongoDB when its address is set, else the embedded store in the data folder. UnusableKeys
    when it is not encrypted by the keys of the settings."""
    key_file = settings.encryption_key_file
    masters = None if key_file is None else read_master_keys(key_file)
    if settings.mongodb_uri is not None:
        from fhir_server.storage.mongo.connect import with_authorities
        from fhir_server.storage.mongo.store import MongoStore

        uri = with_authorities(settings.mongodb_uri.get_secret_value(), settings.tls_ca_file)
        return await MongoStore.open(
            uri, settings.mongodb_database, utc_now, settings.search_seconds, masters
        )
    from fhir_server.storage.sqlite.store import SqliteStore

    settings.data.mkdir(parents=True, exist_ok=True)
    path = settings.data / "medsage.sqlite"
    return SqliteStore.open(path, utc_now, settings.search_seconds, masters)


def knowledge(base_url: str) -> Knowledge:
    """Search knowledge of the FHIR base at `base_url`."""
    live = LiveSearch(partial(_extractor, base_url))
    return Knowledge(base_url, live, lambda: Scope(live.known.in_hand, utc_now(), base_url))


def _extractor(base_url: str, registry: Registry) -> Callable[[dict[str, Any]], Terms]:
    return with_guard_terms(Extractor(registry, base_url), base_url)


async def defined(store: ResourceStore, known: Knowledge) -> Definitions:
    """The search parameters of the store, read: before the first request is answered."""
    definitions = Definitions(store, known.live)
    await definitions.refresh()
    return definitions


async def create_server(
    settings: Settings,
    store: ResourceStore,
    known: Knowledge,
    definitions: Definitions,
    *,
    limits: RateLimits,
    cursor_key: bytes,
    metrics: CollectorRegistry,
    status: Status = nothing_known,
) -> FhirServer:
    """Everything of the server role that answers requests, over an open store; `status` is what
    the operator's page shows."""
    lifetimes = Lifetimes(
        session=settings.session_seconds,
        access_token=settings.access_token_seconds,
        emergency=settings.emergency_minutes * 60,
    )
    await prepare(store, is_indexed=(await definitions.status()).is_whole)
    trusted = trusting(settings.tls_ca_file, settings.tls_minimum)
    cursors, rulebook = CursorSealer(cursor_key), Rulebook(store, utc_now, policy_of(settings))
    smart = authorization_server(
        store,
        await open_key_ring(store, utc_now),
        limits.counters,
        Charts(known.live, cursors, rulebook),
        origin=settings.base_url,
        lifetimes=lifetimes,
        clock=utc_now,
        rules=sign_in_rules(settings),
        transport=httpx2.AsyncHTTPTransport(verify=trusted),
        fetch=CheckedFetch(reach_of(settings), trusted=lambda: trusted),
        takes_registrations=settings.client_registration,
        metrics=AuthorizationMetrics(metrics),
        status=status,
    )
    parts = FhirParts(
        store=store,
        search=known.live,
        definitions=definitions,
        validator=Validator(),
        cursors=cursors,
        authenticate=partial(_authenticate, smart, settings.open_access),
        rulebook=rulebook,
        allows_origin=partial(is_registered_origin, store),
        metrics=FhirMetrics(metrics),
        clock=utc_now,
        new_id=new_id,
        facts=_facts(settings),
        max_body_bytes=settings.max_body_bytes,
        is_open=settings.open_access,
        undo_days=settings.undo_days,
        idempotency_hours=settings.idempotency_hours,
        job_limits=JobLimits(
            settings.async_jobs, settings.async_hours, settings.async_result_bytes
        ),
        limits=limits,
        endpoints=endpoints_of(settings),
    )
    fhir = FhirApplication(parts)
    runner = JobRunner(fhir.jobs, fhir.perform_job)
    discovery, authorization = create_discovery(smart), create_authorization(smart)
    return FhirServer(fhir, discovery, authorization, smart, runner.run, runner.stop)


def sign_in_rules(settings: Settings) -> SignInRules:
    """What the settings ask of people who sign in; UnusableSettings when they can't be met."""
    listed, providers = settings.broken_passwords, settings.openid_providers
    roles = settings.second_factor_roles.replace(",", " ").split()
    named = "MEDSAGE_BROKEN_PASSWORDS"
    try:
        broken = None if listed is None else BrokenPasswords(listed)
        named = "MEDSAGE_OPENID_PROVIDERS"
        read = () if providers is None else read_providers(providers.get_secret_value())
        if unknown := {provider.tenant for provider in read} - tenants_of(settings):
            raise BadProvider(f"MEDSAGE_TENANTS names no tenant {', '.join(sorted(unknown))}")
        named = "MEDSAGE_SECOND_FACTOR_ROLES"
        shortest = SHORTEST_PASSWORD if settings.demo else settings.password_length
        return SignInRules(PasswordRules(shortest, broken), frozenset(roles), read)
    except ValueError as problem:
        raise UnusableSettings(f"{named}: {problem}") from problem


def reach_of(settings: Settings) -> Reach:
    """Where clients may publish their keys: in development on this machine too, and by http."""
    is_dev = settings.profile == "dev"
    return Reach(_networks(settings.jwks_networks, loopback=is_dev), allows_http=is_dev)


def endpoints_of(settings: Settings) -> Endpoints:
    """Where Subscriptions may be told: on this machine too in development, and where nobody else
    reaches this installation either."""
    here = settings.profile == "dev" or urlsplit(settings.base_url).hostname in loopback.HOSTS
    own = filter(None, (settings.base_url, settings.worker_url))
    return Endpoints(_networks(settings.subscription_networks, loopback=here), tuple(own))


def _networks(named: str, *, loopback: bool) -> tuple[Network, ...]:
    return networks_from(f"{named},127.0.0.0/8,::1" if loopback else named)


def tenants_of(settings: Settings) -> frozenset[str]:
    """The names of all tenants of the store."""
    return frozenset({DEFAULT, *settings.tenants.replace(",", " ").split()})


def policy_of(settings: Settings) -> Policy:
    """What the operator has decided about tenants and Consents."""
    return Policy(
        has_tenants=len(tenants_of(settings)) > 1,
        consents_by_default=settings.consent_policy == "opt-out",
    )


async def background(
    settings: Settings,
    store: ResourceStore,
    meaning: tuple[Knowledge, Definitions],
    ways: Callable[[str], httpx.AsyncClient],
    metrics: CollectorRegistry,
) -> list[Callable[[], Awaitable[None]]]:
    """What runs behind the requests until it is cancelled: the audit sealer, the follower of the
    change feed, the delivery of notifications by the way that `ways` gives for an endpoint, the
    indexing, and what tells of consent that was withdrawn."""
    known, definitions = meaning
    sealer = Sealer(store, known.extract, await signer_of(store), utc_now)
    trail = AuditTrail(ITSELF, utc_now, new_id, known.base_url)
    rulebook = Rulebook(store, utc_now, policy_of(settings))
    owners = Owners(store, lambda: known.live.known, rulebook)
    parts = FollowerParts(
        store,
        known.extract,
        known.scope,
        utc_now,
        trail,
        owners,
        metrics=SubscriptionMetrics(metrics),
        endpoints=endpoints_of(settings),
    )
    deliverer = Deliverer(parts, ways)
    reindexer = Reindexer(store, known.live, definitions)
    ends = EmergencyEnds(store, utc_now, trail)
    withdrawals = Withdrawals(store, known.extract, known.scope, utc_now, trail, rulebook)
    following = [Follower(parts, deliverer.wake).run, deliverer.run]
    return [sealer.run, *following, reindexer.run, ends.run, withdrawals.run]


async def _authenticate(
    smart: AuthorizationServer, is_open: bool, headers: Mapping[str, str]
) -> Principal | None:
    """The caller of the token; with open access, nobody in particular when there is none."""
    header = headers.get("authorization")
    if header is None and is_open:
        return None
    return await smart.verifier.verify(header)


def _facts(settings: Settings) -> ServerFacts:
    issuer = f"{settings.base_url}/auth"
    names = ["authorize", "token", "revoke", "introspect"]
    if settings.client_registration:
        names.append("register")
    oauth = {name: f"{issuer}/{name}" for name in names}
    return ServerFacts(
        base_url=f"{settings.base_url}/fhir",
        version=version("medsage"),
        started=utc_now(),
        allows_update_create=settings.update_creates,
        deletes_at_once=settings.deletes_at_once,
        oauth_urls={} if settings.open_access else oauth,
    )
