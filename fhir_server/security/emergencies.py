"""Emergency access ("break-glass"): one user, one patient, a reason and an end.

While it lasts it gives back what Consents and security labels took away of that patient's
record; scope, role and tenant bound the user as ever (ADR 0018).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fhir_server.security.rule_state import change
from fhir_server.storage.port import Record, Transaction

KIND = "emergency"
ROLES = frozenset({"doctor", "nurse"})
PURPOSE = "BTG"

REASONS = {
    "ETREAT": "emergency treatment",
    "CAREMGT": "handing over or coordinating care that cannot wait",
    "PUBHLTH": "a danger to others",
}
"""Why (codes of v3-PurposeOfUse), in words for those who ask and those who review."""
SHORTEST_TEXT = 10
LONGEST_TEXT = 500


class Unfounded(ValueError):
    """Emergency access can't be given; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Emergency:
    """Emergency access under way; times are seconds since 1970."""

    id: str
    user: str
    patient: str
    tenant: str
    reason: str
    text: str
    began: float
    until: float


def check_reason(reason: str, text: str, roles: frozenset[str]) -> None:
    """Unfounded unless the caller is one who treats patients and says why."""
    if not roles & ROLES:
        raise Unfounded("only doctors and nurses can be given emergency access")
    if reason not in REASONS:
        raise Unfounded(f"the reason is one of: {', '.join(REASONS)}")
    if not SHORTEST_TEXT <= len(text.strip()) <= LONGEST_TEXT:
        raise Unfounded(f"say why in {SHORTEST_TEXT} to {LONGEST_TEXT} characters")


async def begin(unit: Transaction, emergency: Emergency) -> None:
    """Store it; it counts with the user's next request."""
    await unit.put_record(Record(KIND, emergency.id, asdict(emergency)), 0)
    await change(unit)


async def end(unit: Transaction, id: str, user: str | None = None) -> Emergency | None:
    """Take it away again: what it was, None when there is none (of that user, if given)."""
    record = await unit.record(KIND, id)
    if record is None or user not in (None, record.value["user"]):
        return None
    await unit.delete_record(KIND, id)
    await change(unit)
    return emergency_from(record)


def emergency_from(record: Record) -> Emergency:
    """What a record of this kind holds."""
    return Emergency(**record.value)


def by_user(records: Sequence[Record]) -> dict[str, tuple[Emergency, ...]]:
    """All emergency access, by who has it."""
    found: dict[str, tuple[Emergency, ...]] = {}
    for each in map(emergency_from, records):
        found[each.user] = (*found.get(each.user, ()), each)
    return found
