"""The one record that changes whenever what decides access changes: it is read with each request,
and the rest only when its revision is another."""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.storage.port import Record, ResourceStore, Transaction

KIND, ID = "access-rules", "state"
MOST_RECENT = 200
"""Changes that are listed; who has missed more reads everything anew."""


@dataclass(frozen=True, slots=True)
class State:
    """The record as of one revision (0: there is none). `labelled` are the types that restricted
    labels may stand on, None while nobody has looked; `recent` the Consents (ids) that were
    written in the latest revisions, each with its revision; other changes name none."""

    revision: int = 0
    labelled: frozenset[str] | None = None
    recent: tuple[tuple[int, str], ...] = ()

    def since(self, revision: int) -> frozenset[str] | None:
        """The Consents that were written after the revision; None when not all are known."""
        listed = {each for each, _ in self.recent}
        if not revision or not listed.issuperset(range(revision + 1, self.revision + 1)):
            return None
        return frozenset(id for each, id in self.recent if each > revision and id)


async def read_state(store: ResourceStore | Transaction) -> State:
    """The state as of now."""
    record = await store.record(KIND, ID)
    if record is None:
        return State()
    labelled = record.value["labelled"]
    return State(
        record.revision,
        None if labelled is None else frozenset(labelled),
        tuple((revision, id) for revision, id in record.value["recent"]),
    )


async def put_state(
    unit: Transaction, state: State, labelled: Iterable[str] | None, ids: Iterable[str] = ("",)
) -> None:
    """Write the state that follows; VersionConflict when another was first."""
    changed = [(state.revision + 1, id) for id in ids]
    recent = [*state.recent, *changed][-MOST_RECENT:]
    value = {
        "labelled": None if labelled is None else sorted(labelled),
        "recent": [list(each) for each in recent],
    }
    await unit.put_record(Record(KIND, ID, value), state.revision)


async def change(
    unit: Transaction, labelled: Iterable[str] = (), consents: Iterable[str] = ("",)
) -> None:
    """Let every process look at the rules anew, in the commit that changes them; `labelled` are
    types that a restricted label was put on, `consents` the ids of those that were written."""
    state = await read_state(unit)
    known = None if state.labelled is None else state.labelled.union(labelled)
    await put_state(unit, state, known, consents)


async def note_labelled(unit: Transaction, types: Iterable[str]) -> None:
    """`change`, where that is news; while nobody has looked, everything is."""
    state = await read_state(unit)
    if state.labelled is None or not state.labelled.issuperset(types):
        await change(unit, types)
