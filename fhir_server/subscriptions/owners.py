"""Whose Subscription it is, and whether they may see what it would tell them of: asked when a
change is matched and again when it is delivered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.search.live import Known
from fhir_server.security.access import OPEN_ACCESS, access_for
from fhir_server.security.judge import Judge
from fhir_server.security.principal import principal_of
from fhir_server.security.rulebook import Rulebook
from fhir_server.security.subscribers import OWNER
from fhir_server.storage.port import Key, ResourceStore, Stored

NOT_KNOWN = "nobody is known to own this Subscription: write it again"


@dataclass(frozen=True)
class Owners:
    """Judges by the rights that the owner had when the Subscription was written last, in the
    circumstances of now."""

    store: ResourceStore
    known: Callable[[], Known]
    rulebook: Rulebook

    async def is_known(self, subscription: str) -> bool:
        """Whether somebody is known to own it."""
        return await self.store.record(OWNER, subscription) is not None

    async def may_see(self, subscription: str, stored: Stored) -> bool:
        """Whether the owner may search this version now; nobody's Subscription is told nothing."""
        record = await self.store.record(OWNER, subscription)
        if record is None:
            return False
        judge = await self._judge(record.value["principal"])
        view = judge.access.filter(stored.key.type, "s")
        return await judge.sees(self.store, stored, view)

    async def may_see_now(self, subscription: str, key: Key) -> bool:
        """The same of the resource as it is now; of what was erased nobody is told."""
        current = await self.store.get(key)
        if current is None or await self._is_erased(current):
            return False
        return await self.may_see(subscription, current)

    async def _is_erased(self, stored: Stored) -> bool:
        """Whether a deletion is all that remains of it."""
        return stored.is_deleted and await self.store.get(stored.key, stored.version - 1) is None

    async def _judge(self, owner: dict[str, Any] | None) -> Judge:
        known = self.known()
        if owner is None:
            return Judge(OPEN_ACCESS, known.extract)
        principal = principal_of(owner)
        circumstances = await self.rulebook.of(principal)
        return Judge(access_for(principal, known.in_hand, circumstances), known.extract)
