"""The rules of a store as of now: read again when they have changed, for each request at once."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from fhir_server.fhir.codec import parse
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import FhirError
from fhir_server.search import terms
from fhir_server.search.expression import HasAnyTerm, HasTerm, Query
from fhir_server.security import emergencies
from fhir_server.security.circumstances import PATIENTS_SHARE, Circumstances, Policy, Rules
from fhir_server.security.consents import (
    DENIES_ALL,
    Directive,
    is_in_force,
    patient_of,
    read_consent,
)
from fhir_server.security.labels import label_key, restricted_terms
from fhir_server.security.latest import Latest
from fhir_server.security.principal import Principal
from fhir_server.security.restrictions import all_records, directive_of, restrictions
from fhir_server.security.rule_state import State, put_state, read_state
from fhir_server.storage.port import Key, ResourceStore, Stored, VersionConflict

_PAGE = 500


class Rulebook:
    """Keeps what was read last. One indexed read of a small record tells whether that still
    holds, so a change counts with the next request of any process."""

    def __init__(
        self, store: ResourceStore, clock: Callable[[], datetime], policy: Policy = PATIENTS_SHARE
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._state = Latest(partial(read_state, store))
        self._last = Rules()
        self._plain = Circumstances(policy)
        self._directives: dict[str, Directive] = {}
        self._reading = asyncio.Lock()

    async def of(self, principal: Principal) -> Circumstances:
        """What counts for the caller now."""
        rules = await self.rules()
        if not rules.directives and not rules.emergencies:
            return self._plain
        now = self._clock()
        places = await self._places(principal) if rules.names_places else frozenset()
        patients = rules.emergencies_of(principal.subject, principal.tenant, now)
        return Circumstances(self._policy, rules, rules.span(now), places, patients, now)

    async def rules(self) -> Rules:
        """The rules as of now."""
        state = await self._state()
        if self._last.revision != state.revision or not state.revision:
            # The state was read first: what changes meanwhile changes it again.
            async with self._reading:
                if self._last.revision != state.revision or not state.revision:
                    self._last = await self._read(state)
                    self._plain = Circumstances(self._policy, self._last)
        return self._last

    async def _read(self, state: State) -> Rules:
        changed = state.since(self._last.revision)
        if changed is None:
            self._directives = await _directives(self._store)
        elif changed:
            keys = [Key("Consent", id) for id in changed]
            found = await self._store.get_many(keys)
            self._directives = {
                **{id: each for id, each in self._directives.items() if id not in changed},
                **_said(found.values()),
            }
        restricted = [directive_of(each) for each in await restrictions(self._store)]
        return Rules(
            state.revision,
            state.labelled,
            (*self._directives.values(), *restricted),
            emergencies.by_user(await all_records(self._store, emergencies.KIND)),
        )

    async def _places(self, principal: Principal) -> frozenset[str]:
        """The PractitionerRoles of the person, and the Organizations that they are for."""
        if principal.fhir_user is None:
            return frozenset()
        own = HasTerm(terms.key("PractitionerRole", "practitioner"), principal.fhir_user)
        page = await self._store.find(Query("PractitionerRole", own, limit=_PAGE))
        roles = [parse(stored.body) for stored in page.matches]
        active = [role for role in roles if role.get("active", True)]
        named = {role.get("organization", {}).get("reference", "") for role in active}
        return frozenset(named - {""}) | {f"PractitionerRole/{role['id']}" for role in active}


async def _directives(store: ResourceStore) -> dict[str, Directive]:
    """Every Consent in force, by its id. All of them are looked at rather than found by their
    terms: while an index is made anew none may be missed."""
    found: dict[str, Directive] = {}
    query: Query | None = Query("Consent", limit=_PAGE)
    while query is not None:
        page = await store.find(query)
        found |= _said(page.matches)
        query = Query("Consent", limit=_PAGE, after=page.next) if page.next else None
    return found


def _said(consents: Iterable[Stored]) -> dict[str, Directive]:
    """What these say, as far as they are in force."""
    said = {each.key.id: _directive(each) for each in consents if not each.is_deleted}
    return {id: directive for id, directive in said.items() if directive is not None}


def _directive(stored: Stored) -> Directive | None:
    resource = parse(stored.body)
    if not is_in_force(resource):
        return None
    try:
        return read_consent(resource)
    except FhirError:
        # It was stored before Consents were honoured, or by an older server.
        patient = patient_of(resource)
        return None if patient is None else Directive(patient, DENIES_ALL)


async def prepare(store: ResourceStore, *, is_indexed: bool) -> None:
    """At the start of a server: find out which types bear restricted labels, once, so that no
    other search pays for them. Not while the index is made anew (`is_indexed`)."""
    state = await read_state(store)
    if state.revision and (state.labelled is not None or not is_indexed):
        return
    labelled = await _labelled(store) if is_indexed else None
    try:
        await store.transaction(lambda unit: put_state(unit, state, labelled))
    except VersionConflict:
        return  # another process was first, or a label was put on something


async def _labelled(store: ResourceStore) -> list[str]:
    values = restricted_terms()
    found: list[str] = []
    for type_ in sorted(resource_types()):
        query = Query(type_, HasAnyTerm(label_key(type_), values), limit=1)
        if (await store.find(query)).matches:
            found.append(type_)
    return found
