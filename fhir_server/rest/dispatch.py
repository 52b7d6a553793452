"""One path for every FHIR request: locate, authenticate, permit, perform, record, answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import NamedTuple

from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.codec import encode
from fhir_server.fhir.narrow import narrowed, narrowing_of_read
from fhir_server.fhir.outcome import FhirError, login_required
from fhir_server.indexing.definitions import Definitions
from fhir_server.indexing.watched_store import WatchedStore
from fhir_server.interactions.audited import read_record, refusal_record
from fhir_server.interactions.context import Context, FhirRequest, FhirResponse
from fhir_server.interactions.write import Interaction
from fhir_server.rest.asked_diagnoses import asked_diagnoses
from fhir_server.rest.body import Disconnected, body_of, require_spoken, with_body
from fhir_server.rest.capability import ServerFacts, capability_statement, require_mode
from fhir_server.rest.cors import AllowsOrigin, allowed_origin, send_preflight, with_origin
from fhir_server.rest.errors import log_failure, translated
from fhir_server.rest.form import MOST_FORM_BYTES, SEARCHES, require_form, with_form
from fhir_server.rest.idempotency import HEADER as IDEMPOTENCY_KEY
from fhir_server.rest.idempotency import once_only
from fhir_server.rest.jobs import ANSWERED_LATER, Job, JobLimits, Jobs
from fhir_server.rest.metrics import FhirMetrics
from fhir_server.rest.middleware import REQUEST_ID
from fhir_server.rest.request import (
    Asked,
    Headers,
    Receive,
    Scope,
    Send,
    asked_for,
    headers_of,
    path_of,
    refusal_form,
    wants_later,
)
from fhir_server.rest.response import rendered, send_refusal, send_response, without_body
from fhir_server.rest.routes import BY_INTERACTION, Route, locate_entry
from fhir_server.rest.trace import of_tenant
from fhir_server.search.live import Known, LiveSearch
from fhir_server.search.page import CursorSealer
from fhir_server.search.registry import Registry
from fhir_server.security.access import OPEN_ACCESS, Access, access_for
from fhir_server.security.circumstances import PLAIN, Circumstances
from fhir_server.security.endpoints import ANYWHERE, Endpoints
from fhir_server.security.guarded_store import GuardedStore
from fhir_server.security.limits import NO_LIMITS, RateLimits, Repeated
from fhir_server.security.principal import Principal
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import ResourceStore
from fhir_server.validation.validate import Validator

Authenticate = Callable[[Headers], Awaitable[Principal | None]]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_UNLOCATED = {
    "GET": "read",
    "HEAD": "read",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
"""What the audit record calls a request that asks for nothing that exists."""


@dataclass(frozen=True)
class FhirParts:
    """All that the FHIR base is made of. `authenticate` is given the headers by lower-case name
    and raises FhirError 401; it may answer None, for nobody, only where `is_open`. `rulebook`
    knows what else decides a caller's rights.
    `allows_origin` says whether a web page of that origin may call (CORS). Without `definitions`
    the search parameters stay as they are."""

    store: ResourceStore
    search: LiveSearch
    validator: Validator
    cursors: CursorSealer
    authenticate: Authenticate
    rulebook: Rulebook
    allows_origin: AllowsOrigin
    metrics: FhirMetrics
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    facts: ServerFacts
    max_body_bytes: int
    is_open: bool = False
    undo_days: int = 7
    definitions: Definitions | None = None
    idempotency_hours: int = 24
    job_limits: JobLimits = field(default_factory=JobLimits)
    limits: RateLimits = NO_LIMITS
    endpoints: Endpoints = ANYWHERE


class _Call(NamedTuple):
    """One HTTP request on its way."""

    method: str
    path: str
    query_string: bytes
    headers: Headers
    receive: Receive
    send: Send
    address: str | None
    request_id: str


class FhirApplication:
    """The FHIR base as an ASGI application, mounted at its path or served by itself."""

    def __init__(self, parts: FhirParts) -> None:
        self._parts = parts
        self._base_url = parts.facts.base_url
        first = parts.search.now
        self._capabilities = (first, self._capabilities_of(first))
        self._locate = partial(locate_entry, self._base_url)
        self.jobs = Jobs(parts.store, parts.clock, parts.job_limits)
        self.jobs.extent_of = self._extent_of
        self._own: Mapping[str, Interaction] = {
            "capabilities": self._capability,
            "async-status": self.jobs.status,
            "async-cancel": self.jobs.cancel,
        }
        self._rights = lru_cache(maxsize=1024)(self._rights_of)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the FHIR base does not speak {scope['type']}")
        started = time.perf_counter()
        method, path, headers = scope["method"], path_of(scope), headers_of(scope)
        if method == "HEAD":
            send = without_body(send)
        if "origin" in headers or method == "OPTIONS":
            origin = await allowed_origin(headers, path, self._parts.allows_origin)
            send = with_origin(send, origin)
            if method == "OPTIONS":
                await send_preflight(send, is_allowed=origin is not None)
                return
        client = scope.get("client")
        address = client[0] if client else None
        request_id = scope.get(REQUEST_ID) or self._parts.new_id()
        query = scope["query_string"]
        call = _Call(method, path, query, headers, receive, send, address, request_id)
        located = _located(call)
        try:
            request, status = await self._serve(call, located)
        except Disconnected:
            return
        elapsed = time.perf_counter() - started
        self._parts.metrics.observe(request.interaction, request.type, status, elapsed)

    async def _serve(self, call: _Call, located: Asked | FhirError) -> tuple[FhirRequest, int]:
        """Answer the call; what it asked for and the status that it got."""
        asked = _unlocated(call) if isinstance(located, FhirError) else located
        principal: Principal | None = None
        try:
            is_public = asked is located and BY_INTERACTION[asked.request.interaction].is_public
            if not is_public:
                principal = await self._principal(call)
                if principal is not None:
                    of_tenant(principal.tenant)
                    await self._parts.limits.of_caller(principal)
            context = await self._context(principal, self._trail(call, principal))
            if isinstance(located, FhirError):
                # A mistake in the head is told only to a caller who may ask at all.
                raise located
            asked = await self._with_body(call, asked)
            await self._limit_diagnoses(principal, asked.request)
            response = await self._answer(call, context, asked.request, principal)
            body = await rendered(asked, response)
        except Disconnected:
            raise
        except Exception as failure:
            refusal = translated(failure, call.request_id)
            if not isinstance(refusal, Repeated):
                await self._record(self._trail(call, principal), asked.request, refusal)
            await send_refusal(call.send, refusal, asked)
            return asked.request, refusal.status
        await send_response(call.send, asked, response, body=body, base_url=self._base_url)
        return asked.request, response.status

    async def perform_job(self, job: Job) -> FhirResponse:
        """The answer to the request of a job, as its caller's own; what stops it is recorded and
        becomes FhirError."""
        parts = self._parts
        trail = AuditTrail(
            job.principal, parts.clock, parts.new_id, self._base_url, job.address, job.request_id
        )
        return await self._submit(await self._context(job.principal, trail), job.request)

    async def _answer(
        self, call: _Call, context: Context, request: FhirRequest, principal: Principal | None
    ) -> FhirResponse:
        """The answer, or where it will be."""
        is_later = wants_later(call.headers) and request.interaction in ANSWERED_LATER
        if not is_later or call.method == "HEAD" or not self.jobs.limits.jobs:
            return await self._perform(context, request)
        self._permit(context, request)
        return await self.jobs.accept(context, principal, request)

    async def _principal(self, call: _Call) -> Principal | None:
        try:
            principal = await self._parts.authenticate(call.headers)
            if principal is None and not self._parts.is_open:
                raise login_required("an access token is needed")
        except FhirError:
            await self._parts.limits.of_nobody(call.address)
            raise
        return principal

    async def _limit_diagnoses(self, principal: Principal | None, request: FhirRequest) -> None:
        """FhirError 429 for a diagnosis too many."""
        if principal is not None and (count := asked_diagnoses(request, principal)):
            await self._parts.limits.of_diagnoses(principal, count)

    async def _with_body(self, call: _Call, asked: Asked) -> Asked:
        if call.method not in _WITH_BODY:
            return await self._once_only(call, asked, b"")
        if asked.request.interaction in SEARCHES:
            require_form(call.headers)
            form = await body_of(call.receive, call.headers, MOST_FORM_BYTES)
            asked = await self._once_only(call, asked, form)
            return with_form(asked, form, call.headers)
        require_spoken(asked.request, call.headers)
        body = await body_of(call.receive, call.headers, self._parts.max_body_bytes)
        asked = await self._once_only(call, asked, body)
        return replace(asked, request=await with_body(asked.request, call.headers, body))

    async def _once_only(self, call: _Call, asked: Asked, body: bytes) -> Asked:
        """What was asked, marked where a repeat must do nothing."""
        if IDEMPOTENCY_KEY not in call.headers:
            return asked
        head = (call.method, call.path, call.query_string)
        hours = self._parts.idempotency_hours
        request = await once_only(asked.request, head, call.headers, body=body, hours=hours)
        return replace(asked, request=request)

    async def _perform(self, context: Context, request: FhirRequest) -> FhirResponse:
        """Permit, run and record one interaction; raises whatever stops it."""
        route = self._permit(context, request)
        run = route.run or self._own[request.interaction]
        response = await run(context, request)
        if not route.is_journaled:
            record = read_record(context, request, response)
            await context.store.note(record)
        return response

    def _permit(self, context: Context, request: FhirRequest) -> Route:
        route = BY_INTERACTION[request.interaction]
        if route.action is not None and request.type is not None:
            context.access.require(request.type, route.action)
        return route

    async def _submit(self, context: Context, request: FhirRequest) -> FhirResponse:
        """The same as a request of its own: what stops it is recorded and becomes FhirError."""
        try:
            return await self._perform(context, request)
        except Exception as failure:
            refusal = translated(failure, context.audit.request_id or "")
            await self._record(context.audit, request, refusal)
            raise refusal from None

    async def _capability(self, context: Context, request: FhirRequest) -> FhirResponse:
        require_mode(request.query)
        narrowing = narrowing_of_read(request.query, "CapabilityStatement")
        registry, whole = self._capabilities
        if registry is not context.registry:
            # It takes a good part of a second, which others need not wait for.
            whole = await asyncio.to_thread(self._capabilities_of, context.registry)
            self._capabilities = (context.registry, whole)
        return FhirResponse(200, whole if narrowing is None else narrowed(whole, narrowing))

    def _capabilities_of(self, registry: Registry) -> bytes:
        return encode(capability_statement(registry, self._parts.facts))

    async def _record(self, trail: AuditTrail, request: FhirRequest, refusal: FhirError) -> None:
        """Journal a refusal in a unit of its own: its own unit, if any, was rolled back."""
        record = refusal_record(trail, request, refusal)
        try:
            await self._parts.store.note(record)
        except Exception as failure:
            # The caller is refused either way; that the store is down must not hide why.
            log_failure(failure, trail.request_id or "")

    def _trail(self, call: _Call, principal: Principal | None) -> AuditTrail:
        parts = self._parts
        return AuditTrail(
            principal, parts.clock, parts.new_id, self._base_url, call.address, call.request_id
        )

    async def _circumstances(self, principal: Principal | None) -> Circumstances:
        return PLAIN if principal is None else await self._parts.rulebook.of(principal)

    async def _extent_of(self, principal: Principal | None) -> str:
        """What the caller may see now, as `Access.extent` tells it."""
        circumstances = await self._circumstances(principal)
        access, _ = self._rights(principal, self._parts.search.known, circumstances)
        return access.extent

    def _rights_of(
        self, principal: Principal | None, known: Known, circumstances: Circumstances
    ) -> tuple[Access, ResourceStore]:
        """What the caller may do, and the store as the caller may see it: the same for each of
        the caller's requests, as long as search parameters and circumstances stay what they
        are."""
        parts = self._parts
        access = OPEN_ACCESS
        if principal is not None:
            access = access_for(principal, known.registry, circumstances)
        store: ResourceStore = parts.store
        if parts.definitions is not None:
            store = WatchedStore(store, parts.search, known, parts.definitions)
        return access, GuardedStore(store, access, known.extract)

    async def _context(self, principal: Principal | None, trail: AuditTrail) -> Context:
        parts = self._parts
        circumstances = await self._circumstances(principal)
        known = parts.search.known
        access, store = self._rights(principal, known, circumstances)
        if circumstances.emergencies:
            trail = replace(trail, emergencies=circumstances.emergencies)
        return Context(
            store=store,
            access=access,
            audit=trail,
            validator=parts.validator,
            registry=known.registry,
            extract=known.extract,
            cursors=parts.cursors,
            clock=parts.clock,
            new_id=parts.new_id,
            base_url=self._base_url,
            allows_update_create=parts.facts.allows_update_create,
            submit=self._submit,
            perform=self._perform,
            locate=self._locate,
            undo_days=parts.undo_days,
            deletes_at_once=parts.facts.deletes_at_once,
            definitions=parts.definitions,
            endpoints=parts.endpoints,
        )


def _located(call: _Call) -> Asked | FhirError:
    try:
        return asked_for(call.method, call.path, call.query_string, call.headers)
    except FhirError as refusal:
        return refusal


def _unlocated(call: _Call) -> Asked:
    """What to answer a request by whose head is refused."""
    form = refusal_form(call.query_string, call.headers)
    return Asked(FhirRequest(_UNLOCATED.get(call.method, "operation")), form)
