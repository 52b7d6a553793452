"""What was acknowledged stays: over a restart, and when the writing process is killed."""

import asyncio
import random
import sys
from collections import Counter

from fhir_server.search.expression import HasTerm, Query
from fhir_server.storage.port import Key, Record, ResourceStore
from tests.availability import ROOT
from tests.store_writer import PARTS
from tests.stores import Place, draft, put, version

KILLS = 3


async def test_everything_is_there_after_a_restart(place: Place) -> None:
    store = await place.store()
    await put(store, draft("Patient/a", 1, ("name", "x")), draft("Patient/a", 2, ("name", "y")))
    await store.transaction(lambda transaction: transaction.put_record(Record("k", "i", {"n": 1})))
    await store.transaction(lambda transaction: transaction.journal(b"entry"))
    await store.close()
    place.opened.clear()
    again = await place.store()
    assert await again.get(Key("Patient", "a")) == version("Patient/a", 2)
    assert await again.get(Key("Patient", "a"), 1) == version("Patient/a")
    assert await again.count(Query("Patient", HasTerm("Patient.name", "y"))) == 1
    assert await again.record("k", "i") == Record("k", "i", {"n": 1})
    assert [each.entry for each in await again.journal(5)] == [b"entry"]


async def test_two_stores_on_one_place_see_each_others_commits(place: Place) -> None:
    first, second = await place.store(), await place.store()
    await put(first, draft("Patient/a"))
    assert await second.get(Key("Patient", "a")) == version("Patient/a")
    await put(second, draft("Patient/a", 2))
    assert await first.get(Key("Patient", "a")) == version("Patient/a", 2)


async def test_acknowledged_units_survive_a_kill_and_none_is_half_there(place: Place) -> None:
    chance = random.Random(11)
    acknowledged: set[int] = set()
    for round_ in range(KILLS):
        acknowledged |= await _written_until_killed(
            place, round_ * 100_000, after=chance.randint(1, 40)
        )
        store = await place.store()
        await _is_whole(store, acknowledged)
    assert len(acknowledged) >= KILLS


async def _written_until_killed(place: Place, start: int, *, after: int) -> set[int]:
    """Units that a process acknowledged before it was killed in the middle of its work."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store_writer", place.kind, str(start), *place.address,
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[bytes] = []
    async with asyncio.timeout(60):
        while len(lines) < after:
            line = await process.stdout.readline()
            assert line, "the writer ended by itself"
            lines.append(line)
        process.kill()
        # What it had already acknowledged counts too.
        lines += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
    return {int(line) for line in lines if line.endswith(b"\n")}


async def _is_whole(store: ResourceStore, acknowledged: set[int]) -> None:
    recorded = {int(each.id) for each in await store.records("unit", limit=100_000)}
    audited = {int(each.entry) for each in await store.journal(100_000)}
    parts: Counter[int] = Counter()
    page = await store.find(Query("Patient", HasTerm("Patient.name", "x"), limit=100_000))
    for each in page.matches:
        parts[int(each.key.id.partition("-")[0])] += 1
    assert acknowledged <= recorded
    assert recorded == audited == set(parts)
    assert set(parts.values()) == {PARTS}
