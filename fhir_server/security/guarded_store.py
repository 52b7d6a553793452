"""The guard at the storage port: a store in which what the caller may not see does not exist."""

from collections.abc import Callable
from typing import Any

from fhir_server.security.access import Access
from fhir_server.storage.port import ResourceStore, Terms


class GuardedStore:
    """A ResourceStore for one caller: `GuardedStore(store, access, extract)`.

    Reads, version reads, history, searches, chains, `_has` and counts answer as if the hidden
    resources did not exist. Writes check the old and the new version: FhirError 403 for what the
    caller may not create, 404 for what it can't see.
    """

    def __init__(
        self, store: ResourceStore, access: Access, extract: Callable[[dict[str, Any]], Terms]
    ) -> None:
        self._store = store
        self._access = access
        self._extract = extract
