"""A call of `/api/diagnose` that may be sent again: its Idempotency-Key goes on to the FHIR server,
which writes the submission once. A repeat finds the Task of the first by its identifier, and asks
for nothing new."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson

from fhir_server.fhir import idempotency_key
from fhir_server.fhir.assessment import CANONICAL, Image
from models.fhir_client import FhirClient, FhirFailure

Resource = dict[str, Any]

_FORBIDDEN = 403
CALLS = f"{CANONICAL}/identifier/diagnosis-call"
"""The system of the identifier of a Task that a call with a key made."""


class Caller(Protocol):
    """Whose token it is: the user's id, and the client's."""

    @property
    def subject(self) -> str: ...

    @property
    def client_id(self) -> str: ...


@dataclass(frozen=True)
class Repeatable:
    """A call with a key; `value` stands for caller, key and all that was sent. What was ordered
    before `since` is no call of this one's: the key was free again, and the same form may be
    another patient's."""

    key: str
    value: str
    since: datetime

    @property
    def identifier(self) -> Resource:
        """What its Task is found by."""
        return {"system": CALLS, "value": self.value}

    async def earlier(self, fhir: FhirClient) -> Resource | None:
        """The Task of the same call before, if the caller may find it; the first, where somebody
        has copied it."""
        query = {"identifier": f"{CALLS}|{self.value}", "_sort": "authored-on"}
        try:
            async for task in fhir.search("Task", query):
                if datetime.fromisoformat(task["authoredOn"]) > self.since:
                    return task
        except FhirFailure as failure:
            if failure.status != _FORBIDDEN:
                raise
        return None


def repeatable(
    header: str | None,
    caller: Caller | None,
    sent: tuple[Sequence[tuple[str, str]], Sequence[Image]],
    since: datetime,
) -> Repeatable | None:
    """The call that this header came with; None without one. `sent` are the fields and images.
    FhirError 400 for a malformed key."""
    if header is None:
        return None
    key = idempotency_key.parsed(header)
    whose = None if caller is None else [caller.subject, caller.client_id]
    pairs, images = sent
    files = [
        [each.title, each.content_type, hashlib.sha256(each.content).hexdigest()] for each in images
    ]
    said = orjson.dumps([whose, key, pairs, files])
    return Repeatable(key, hashlib.sha256(said).hexdigest(), since)
