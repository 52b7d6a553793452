"""What an interaction is given and what it answers; no web framework in sight."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from fhir_server.audit.journal import AuditTrail
from fhir_server.indexing.definitions import Definitions
from fhir_server.search.page import CursorSealer
from fhir_server.search.registry import Registry
from fhir_server.security.access import Access
from fhir_server.security.endpoints import ANYWHERE, Endpoints
from fhir_server.security.principal import Principal
from fhir_server.storage.port import ResourceStore, Stored, Terms
from fhir_server.validation.validate import Validator

Resource = dict[str, Any]
Return = Literal["minimal", "representation", "OperationOutcome"]
Handling = Literal["strict", "lenient"]


@dataclass(frozen=True)
class Repeatable:
    """A request that is to be done once, however often it is sent. `name` is its key, told apart
    from those of other origin; `fingerprint` is that of the whole request; `kept` says for how
    long the answer is remembered."""

    name: tuple[str | int, ...]
    fingerprint: str
    kept: timedelta

    def entry(self, index: int) -> "Repeatable":
        """The entry of a batch, which is done once by itself."""
        return replace(self, name=(*self.name, index))


@dataclass(frozen=True)
class FhirRequest:
    """One interaction as asked for, by HTTP or as a Bundle entry.

    `body` is the exact JSON sent (empty when none); `query` holds decoded name-value pairs in
    the order given. `interaction` is the R4 code (`search-type`, `history-instance` …);
    `compartment` is the type and id of the resource in whose compartment a search is to look;
    `operation` is the name, without `$`, of the operation that is called.
    `accept` is the Accept header of a read whose answer may be content in its own media type.
    `content_type` is set where `body` is no JSON of a resource, but what this media type says;
    `security_context` is then the header X-Security-Context, for a Binary. `accepts_stream`: the
    answer goes out as it is, so it may be made while it is sent. `is_head`: asked for by HEAD,
    so the answer goes without its body. `repeatable` is set where a repeat of the request must do
    nothing.
    """

    interaction: str
    type: str | None = None
    id: str | None = None
    version: int | None = None
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    if_match: str | None = None
    if_none_match: str | None = None
    if_none_exist: str | None = None
    if_modified_since: str | None = None
    prefer_return: Return | None = None
    handling: Handling = "strict"
    is_pretty: bool = False
    compartment: tuple[str, str] | None = None
    operation: str | None = None
    accept: str | None = None
    content_type: str | None = None
    security_context: str | None = None
    accepts_stream: bool = False
    is_head: bool = False
    repeatable: Repeatable | None = None


@dataclass(frozen=True)
class FhirResponse:
    """The answer: `stored` gives ETag, Last-Modified and Location (when `is_created`);
    `body` is what is sent unless Prefer asks for less; `about` is a version that tells the audit
    record whom the answer is about, where `stored` is not set. `content_type` is set where `body`
    is no resource, but content of that media type. `chunks` is a body that is made while it is
    sent, in place of `body`, for a request that `accepts_stream`."""

    status: int
    body: bytes = b""
    stored: Stored | None = None
    is_created: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    about: Stored | None = None
    content_type: str | None = None
    chunks: AsyncIterator[bytes] | None = None


@dataclass(frozen=True)
class Context:
    """All that an interaction may use. `store` is the guarded store of this caller; `clock`
    is the injected now (UTC) and `new_id` the injected source of ids; `submit` runs another
    request of the same caller down the same path (batch entries): it records a refusal and
    raises nothing but FhirError. `perform` does the same inside an open unit (the reads of a
    transaction), where a failure is the unit's. `locate` says what a
    method and a URL below the base ask for (FhirError 404 or 405 for what is not there).
    `undo_days`: how long a transaction is remembered, so that it can be undone.
    `deletes_at_once`: how many resources one conditional delete may delete.
    `is_in_transaction`: the store is an open unit, with what it offers and no more.
    `definitions` keep `registry` and the index as the store says; None where they never change.
    `endpoints`: where Subscriptions may be told."""

    store: ResourceStore
    access: Access
    audit: AuditTrail
    validator: Validator
    registry: Registry
    extract: Callable[[Resource], Terms]
    cursors: CursorSealer
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    base_url: str
    allows_update_create: bool
    submit: Callable[["Context", FhirRequest], Awaitable[FhirResponse]]
    perform: Callable[["Context", FhirRequest], Awaitable[FhirResponse]]
    locate: Callable[[str, str], FhirRequest]
    undo_days: int = 7
    deletes_at_once: int = 1
    is_in_transaction: bool = False
    definitions: Definitions | None = None
    endpoints: Endpoints = ANYWHERE

    @property
    def tenant(self) -> str:
        """The tenant to whom belongs what the caller writes."""
        return self.access.principal.tenant

    @property
    def writer(self) -> Principal:
        """Who writes."""
        return self.access.principal
