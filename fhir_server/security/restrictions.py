"""Processing of a patient's record restricted (GDPR article 18): it is kept, and used by nobody.

To the guard a restriction is one more rule of the patient's, like a Consent that denies
everything, with those named in it as its exceptions: so it reaches whatever a Consent does. It is
a record of the operator's and no resource: nobody lifts it over FHIR (ADR 0033).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fhir_server.fhir.reference import parse_reference
from fhir_server.security.actors import client_name, user_name
from fhir_server.security.consents import NAMED, Directive, Provision
from fhir_server.security.rule_state import change
from fhir_server.storage.port import Record, ResourceStore, Transaction

RESTRICTION = "restriction"
"""The kind of the records; the id is the Patient's."""

REASONS: Mapping[str, str] = {
    "accuracy-contested": "the patient contests that the record is accurate (18(1)(a))",
    "unlawful": "processing is unlawful, and the patient opposes erasure (18(1)(b))",
    "legal-claims": "the patient needs the record for legal claims (18(1)(c))",
    "objection-pending": "the patient has objected, and it is being weighed (18(1)(d))",
}
_NAMES = {"user": user_name, "client": client_name}
_NAME = re.compile(r"(user|client):(\S+)")


class BadRestriction(ValueError):
    """It can't be put on as it was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """Of whom (an id), why (a key of REASONS), since when (an instant), and who may go on: actors
    as a Consent names them."""

    patient: str
    reason: str
    since: str
    actors: tuple[str, ...] = ()


def actor_named(text: str) -> str:
    """The actor that `user:NAME`, `client:ID`, or a reference (`Practitioner/7`) means;
    BadRestriction for what means none."""
    named = _NAME.fullmatch(text)
    if named:
        return _NAMES[named[1]](named[2])
    try:
        parsed = parse_reference(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.kind != "relative" or parsed.type not in NAMED:
        listed = ", ".join(sorted(NAMED))
        raise BadRestriction(f"{text}: not user:NAME, client:ID, or a reference to {listed}")
    return f"{parsed.type}/{parsed.id}"


async def restrict(unit: Transaction, restriction: Restriction) -> None:
    """Put it on, in place of one that there was; it counts with everybody's next request."""
    value = {name: each for name, each in asdict(restriction).items() if name != "patient"}
    value["actors"] = list(restriction.actors)
    await unit.put_record(Record(RESTRICTION, restriction.patient, value))
    await change(unit)


async def lift(unit: Transaction, patient: str) -> bool:
    """Take it off; False when there is none."""
    if await unit.record(RESTRICTION, patient) is None:
        return False
    await unit.delete_record(RESTRICTION, patient)
    await change(unit)
    return True


async def restrictions(store: ResourceStore) -> list[Restriction]:
    """All that are in force, by the Patient's id."""
    return [_restriction(each) for each in await all_records(store, RESTRICTION)]


def directive_of(restriction: Restriction) -> Directive:
    """What the guard goes by: everything is denied to all but those who are named."""
    permitted = Provision(permits=True, actors=frozenset(restriction.actors))
    exceptions = (permitted,) if restriction.actors else ()
    return Directive(restriction.patient, Provision(permits=False, exceptions=exceptions))


def _restriction(record: Record) -> Restriction:
    value: dict[str, Any] = record.value
    return Restriction(record.id, value["reason"], value["since"], tuple(value["actors"]))


async def all_records(store: ResourceStore, kind: str) -> Sequence[Record]:
    """Every record of a kind, however many there are."""
    found: list[Record] = []
    after = ""
    while batch := await store.records(kind, after=after):
        found += batch
        after = batch[-1].id
    return found
