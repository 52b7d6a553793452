"""The rules of access are read again when they have changed, and no more than has changed."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_server.search.expression import Query
from fhir_server.security.rule_state import MOST_RECENT, State, change
from fhir_server.security.rulebook import Rulebook, prepare
from fhir_server.storage.port import Key, Page, Stored
from fhir_server.storage.sqlite.store import SqliteStore
from tests.consent_world import LABEL, consent, observation
from tests.fhir_world import World, fhir_world


class Watched:
    """A store that counts what is asked of it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.walks = 0
        self.fetched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def find(self, query: Query) -> Page:
        self.walks += query.type == "Consent"
        return await self._store.find(query)  # type: ignore[no-any-return]

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Stored]:
        self.fetched += [key.id for key in keys]
        return await self._store.get_many(keys)  # type: ignore[no-any-return]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with fhir_world(tmp_path) as opened:
        yield opened


def rulebook(store: Watched) -> Rulebook:
    return Rulebook(store, lambda: datetime(2026, 11, 24, tzinfo=UTC))  # type: ignore[arg-type]


async def test_only_the_consents_that_were_written_are_read_again(world: World) -> None:
    for id in ("a", "b"):
        await world.put(f"/Consent/{id}", consent(id, base="OPTOUT") | {"id": id})
    store = Watched(world.store)
    book = rulebook(store)
    assert {each.patient for each in (await book.rules()).directives} == {"a", "b"}
    assert (store.walks, store.fetched) == (1, [])
    assert await book.rules() is await book.rules()
    await world.put("/Consent/c", consent("c", base="OPTOUT") | {"id": "c"})
    await world.put("/Consent/a", consent("a", base="OPTOUT", status="inactive") | {"id": "a"})
    assert {each.patient for each in (await book.rules()).directives} == {"b", "c"}
    await world.delete("/Consent/b")
    assert {each.patient for each in (await book.rules()).directives} == {"c"}
    assert (store.walks, sorted(store.fetched)) == (1, ["a", "b", "c"])


async def test_who_has_missed_too_much_reads_everything(world: World) -> None:
    store = Watched(world.store)
    book = rulebook(store)
    await book.rules()
    await world.put("/Consent/c", consent("c", base="OPTOUT") | {"id": "c"})

    async def many(unit: Any) -> None:
        for _ in range(MOST_RECENT):
            await change(unit)

    await world.store.transaction(many)
    assert {each.patient for each in (await book.rules()).directives} == {"c"}
    assert store.walks == 2


async def test_types_with_restricted_labels_are_found_at_the_first_start(tmp_path: Path) -> None:
    from tests.guard_world import fill

    store = SqliteStore.open(tmp_path / "store.sqlite")
    await fill(store, [observation("o", "x", meta={"security": [LABEL]})])
    book = Rulebook(store, lambda: datetime(2026, 11, 24, tzinfo=UTC))
    assert (await book.rules()).labelled is None
    await prepare(store, is_indexed=False)
    assert (await book.rules()).labelled is None
    await prepare(store, is_indexed=True)
    assert (await book.rules()).labelled == {"Observation"}
    await store.close()


def test_what_is_not_listed_is_not_known() -> None:
    state = State(7, None, ((5, "a"), (6, ""), (7, "b")))
    assert state.since(7) == frozenset()
    assert state.since(5) == {"b"}
    assert state.since(4) == {"a", "b"}
    assert state.since(3) is None
    assert state.since(0) is None
