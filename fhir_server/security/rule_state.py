"""The one record that changes whenever what decides access changes: it is read with each request,
and the rest only when its revision is another."""

from collections.abc import Iterable

from fhir_server.storage.port import Record, ResourceStore, Transaction

KIND, ID = "access-rules", "state"
LABELLED = "labelled"
"""The types on which restricted labels may stand; null while nobody has looked."""

State = dict[str, list[str] | None]


async def read_state(store: ResourceStore | Transaction) -> Record | None:
    """The record; None where no server has been started yet."""
    return await store.record(KIND, ID)


async def change(unit: Transaction, labelled: Iterable[str] = ()) -> None:
    """Let every process look at the rules anew, in the commit that changes them; `labelled` are
    types that a restricted label was put on."""
    record = await read_state(unit)
    known = None if record is None else record.value[LABELLED]
    if known is not None:
        known = sorted({*known, *labelled})
    await unit.put_record(Record(KIND, ID, {LABELLED: known}))


async def note_labelled(unit: Transaction, types: Iterable[str]) -> None:
    """`change`, where that is news; while nobody has looked, everything is."""
    record = await read_state(unit)
    known = None if record is None else record.value[LABELLED]
    if known is None or not set(types) <= set(known):
        await change(unit, types)
