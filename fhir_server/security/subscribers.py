"""Who wrote a Subscription: kept with it, so that it tells them no more than they may see."""

from fhir_server.security.access import OPEN_ACCESS, Access
from fhir_server.security.principal import principal_json
from fhir_server.storage.port import Record, Stored, Transaction

OWNER = "subscription-owner"
"""The kind of the records; the id is the Subscription's. Its principal is null where no tokens
are asked for."""

TYPE = "Subscription"


async def note_owner(unit: Transaction, access: Access, written: Stored) -> None:
    """Remember the caller as the owner of the Subscription that they have written."""
    if written.is_deleted:
        await unit.delete_record(OWNER, written.key.id)
        return
    who = None if access is OPEN_ACCESS else principal_json(access.principal)
    known = await unit.record(OWNER, written.key.id)
    if known is None or known.value["principal"] != who:
        await unit.put_record(Record(OWNER, written.key.id, {"principal": who}))
