"""Patients and visits as a user may see them, for the pages where one is chosen and for the check
of what an EHR launches.

What the user sees is decided by the guard, as for every FHIR request: the role's rights, tenant,
labels and Consents, without an app's scopes, as no app is asking yet.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fhir_server.fhir.codec import parse
from fhir_server.search.live import LiveSearch
from fhir_server.search.page import CursorSealer
from fhir_server.search.plan import Scope, plan_search
from fhir_server.security.access import Access, access_for
from fhir_server.security.guarded_store import GuardedStore
from fhir_server.security.principal import Principal
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import Key, ResourceStore

PAGE_SIZE = 20
_OWN_SCOPES = "user/Patient.rs user/Encounter.rs"
Resource = dict[str, Any]
Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Charts:
    """How charts are looked for: the search parameters of now, what seals the place of a page,
    and what else decides who sees what."""

    search: LiveSearch
    cursors: CursorSealer
    rulebook: Rulebook


@dataclass(frozen=True)
class Listing:
    """One page of what was found, in order; `next` is the sealed place of the following one."""

    resources: tuple[Resource, ...]
    next: str | None = None


@dataclass(frozen=True)
class View:
    """The charts that one user may see now. `permits_patients` is whether that is any at all."""

    store: GuardedStore
    access: Access
    charts: Charts
    scope: Scope

    @property
    def permits_patients(self) -> bool:
        return self.access.permits("Patient", "s")

    async def read(self, key: Key) -> Resource | None:
        """The resource as it is now; None when there is none, or it is not the user's to see."""
        stored = await self.store.get(key)
        return None if stored is None or stored.is_deleted else parse(stored.body)

    async def find(self, type: str, pairs: Pairs, place: str | None = None) -> Listing:
        """One page of a search in the order that `pairs` ask for. FhirError 400 when they can't
        be understood, or the place is not one of this search for this user; 503 while the server
        indexes what they need."""
        asked = sorted(pairs)
        binding = f"{self.access.binding} {type} {asked}"
        query = plan_search(self.scope, type, [*asked, ("_count", str(PAGE_SIZE))]).query
        if place is not None:
            query = replace(query, after=self.charts.cursors.open(place, binding))
        page = await self.store.find(query)
        sealed = None if page.next is None else self.charts.cursors.seal(page.next, binding)
        return Listing(tuple(parse(one.body) for one in page.matches), sealed)


async def view_of(
    store: ResourceStore, charts: Charts, principal: Principal, *, now: datetime, base_url: str
) -> View:
    """What the person may see by their role, whatever app they are using."""
    access, guarded = await _guarded(
        store, charts, replace(principal, scopes=_OWN_SCOPES, patient=None)
    )
    return View(guarded, access, charts, Scope(charts.search.now, now, base_url))


async def chart_of(
    store: ResourceStore, charts: Charts, principal: Principal, patient: str | None
) -> ResourceStore:
    """What the person may read inside one patient's chart; with None, wherever their role lets
    them."""
    scopes = "user/*.rs" if patient is None else "patient/*.rs"
    inside = replace(principal, scopes=scopes, patient=patient)
    return (await _guarded(store, charts, inside))[1]


async def _guarded(
    store: ResourceStore, charts: Charts, principal: Principal
) -> tuple[Access, GuardedStore]:
    circumstances = await charts.rulebook.of(principal)
    known = charts.search.known
    access = access_for(principal, known.registry, circumstances)
    return access, GuardedStore(store, access, known.extract)
