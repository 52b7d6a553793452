"""The audit journal: one compact record for each interaction, refused ones too.

A record is JSON bytes that `audit/event.py` expands into an AuditEvent. A write hands it to
`transaction.journal` inside its unit; reads and refusals write it in a unit of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, Protocol

import orjson

from fhir_server.audit.kinds import KINDS
from fhir_server.fhir.codec import instant
from fhir_server.storage.port import Key

Outcome = Literal["success", "refused", "failed"]
EMERGENCY = "BTG"
"""The purpose of use of what is done under emergency access (v3-PurposeOfUse)."""


class Caller(Protocol):
    """What a record keeps of a `security.principal.Principal`."""

    @property
    def subject(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def roles(self) -> frozenset[str]: ...
    @property
    def fhir_user(self) -> str | None: ...
    @property
    def session(self) -> str | None: ...
    @property
    def tenant(self) -> str: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class AuditTrail:
    """Makes the records of one request. `principal` is None while nobody is known; `address` is
    the client's network address; `base_url` the FHIR base, which names this server;
    `emergencies` the ids of the patients to whom the caller has emergency access; `operator` whose
    order a service says that it passes on."""

    principal: Caller | None
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    base_url: str
    address: str | None = None
    request_id: str | None = None
    emergencies: frozenset[str] = frozenset()
    operator: str | None = None

    def entry(
        self,
        *,
        interaction: str,
        outcome: Outcome,
        status: int,
        key: Key | None = None,
        version: int | None = None,
        patient: str | None = None,
        query: str | None = None,
        about: str | None = None,
        detail: str | None = None,
    ) -> bytes:
        """One record as JSON. `patient` is the id of the Patient concerned, where it is known;
        `query` the search as sent; `about` the sign-in name of the user that something was done to;
        `detail` one sentence about a refusal or failure, or an
        answer given again, free of patient data. ValueError on an interaction that is not in
        KINDS."""
        if interaction not in KINDS:
            raise ValueError(f"audit: unknown interaction {interaction!r}")
        record: dict[str, Any] = {
            "id": self.new_id(),
            "time": instant(self.clock()),
            "base": self.base_url,
            "interaction": interaction,
            "outcome": outcome,
            "status": status,
        }
        if key is not None:
            record["key"] = f"{key.type}/{key.id}"
        optional = {
            "version": version,
            "patient": patient,
            "query": query,
            "about": about,
            "detail": detail,
            "address": self.address,
            "request": self.request_id,
            "purpose": self._purpose(key, patient),
            "operator": self.operator,
        }
        record |= {name: value for name, value in optional.items() if value is not None}
        if self.principal is not None:
            record |= _caller(self.principal)
        return orjson.dumps(record)

    def _purpose(self, key: Key | None, patient: str | None) -> str | None:
        """The purpose of use, where it is not the caller's usual one: emergency access that may
        have made the difference."""
        if not self.emergencies:
            return None
        concerned = key.id if key is not None and key.type == "Patient" else patient
        is_other = concerned and concerned.removeprefix("Patient/") not in self.emergencies
        return None if is_other else EMERGENCY


@lru_cache(maxsize=1024)
def _caller(who: Caller) -> Mapping[str, Any]:
    """What a record says of the caller: the same in each of them."""
    known = {
        "subject": who.subject,
        "client": who.client_id,
        "name": who.name,
        "roles": sorted(who.roles),
        "user": who.fhir_user,
        "session": who.session,
        "tenant": None if who.tenant == "default" else who.tenant,
    }
    return {name: value for name, value in known.items() if value is not None}
