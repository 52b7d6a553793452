"""A proxy between the adapter and MongoDB cuts, delays and refuses (bench/faults)."""

import pytest
from bson import encode

from bench.faults.proxy import proxy
from bench.faults.table import FAULTS, Document
from bench.faults.wire import Message, reply
from bench.proof_faults import proved
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.port import Key, Past, StoreUnavailable, Transaction, VersionConflict
from tests.stores import Clock, draft, mongodb_place

pytestmark = pytest.mark.mongodb
TIMES = 2


@pytest.mark.parametrize("name", FAULTS)
async def test_a_unit_that_meets_a_fault_is_written_once_or_said_to_be_in_doubt(
    mongodb_server: str, name: str
) -> None:
    left = [0]

    def choose(command: Document) -> str | None:
        if left[0] and FAULTS[name].fits(command):
            left[0] -= 1
            return name
        return None

    async with mongodb_place(mongodb_server) as place, proxy(mongodb_server, choose) as between:
        store = await MongoStore.open(between.uri, place.address[1], Clock())
        left[0] = TIMES
        is_acknowledged = await _is_written(store)
        left[0] = 0
        await store.close()
        straight = await place.store()
        versions = (await straight.history(Past(Key("Patient", "a"), limit=5))).versions
        entries = await straight.journal(5)

        assert between.met == {name: TIMES}
        assert len(versions) == len(entries)
        assert len(versions) == 1 if is_acknowledged else len(versions) <= 1


async def _is_written(store: MongoStore) -> bool:
    """Whether the store acknowledged a unit; nothing but doubt or a conflict may keep it from
    that."""

    async def unit(transaction: Transaction) -> None:
        await transaction.get(Key("Patient", "b"))
        await transaction.put(draft("Patient/a"), 0)
        await transaction.journal(b"entry")

    try:
        await store.transaction(unit)
    except (StoreUnavailable, VersionConflict):
        return False
    return True


async def test_under_load_nothing_acknowledged_is_lost_or_doubled(mongodb_server: str) -> None:
    found = await proved(mongodb_server, writes=150, seed=3, writers=8, share=0.02)

    assert found["passed"], found
    assert found["acknowledged"] >= 150
    assert sum(found["faults"].values()) > 3


def test_what_is_no_command_is_let_through() -> None:
    made = Message(1, 0, 2004, b"x" * 40)
    assert made.document() == {}
    content = reply(7, {"ok": 1.0})
    assert Message(0, 7, 2013, content).document() == {"ok": 1.0}
    assert content.endswith(encode({"ok": 1.0}))
