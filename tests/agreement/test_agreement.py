"""The evaluator, SQLite and MongoDB give the same answers to random searches.

A small seeded sample runs here; `medsage bench proof-search --count 100000` runs more.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bench.agreement import Disagreement, prove
from fhir_server.search.expression import HasRange
from fhir_server.storage.mongo import compile as mongo_compile
from fhir_server.storage.port import ResourceStore
from fhir_server.storage.sqlite import compile as sqlite_compile
from fhir_server.storage.sqlite.sql import Sql
from tests.stores import MONGODB, SQLITE, mongodb_place, sqlite_place

COUNT = 400
SEED = 20261124

Stores = dict[str, ResourceStore]


@asynccontextmanager
async def opened(folder: Path, uri: str | None = None) -> AsyncIterator[Stores]:
    """The embedded store and, with a URI, MongoDB; both empty."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(sqlite_place(folder))
        stores = {SQLITE: await place.store()}
        if uri is not None:
            place = await stack.enter_async_context(mongodb_place(uri))
            stores[MONGODB] = await place.store()
        yield stores


async def test_sqlite_answers_as_the_evaluator(tmp_path: Path) -> None:
    async with opened(tmp_path) as stores:
        proof = await prove(stores, count=COUNT, start=SEED)
    assert proof.searches >= COUNT
    assert proof.matches > COUNT / 4


@pytest.mark.mongodb
async def test_mongodb_answers_as_the_evaluator_and_sqlite(
    tmp_path: Path, mongodb_server: str
) -> None:
    async with opened(tmp_path, mongodb_server) as stores:
        proof = await prove(stores, count=COUNT, start=SEED + COUNT)
    assert proof.searches >= COUNT


async def test_a_planted_mistake_in_the_sql_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inclusive(test: HasRange, column: str) -> Sql:
        found = original(test, column)
        return Sql(found.text.replace("< ?", "<= ?"), found.arguments)

    original = sqlite_compile._term_condition
    monkeypatch.setattr(sqlite_compile, "_term_condition", inclusive)
    async with opened(tmp_path) as stores:
        with pytest.raises(Disagreement, match="sqlite"):
            await prove(stores, count=COUNT * 5, start=SEED)


@pytest.mark.mongodb
async def test_a_planted_mistake_in_the_filter_is_found(
    tmp_path: Path, mongodb_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inclusive(param: str, low: str | None, high: str | None) -> dict[str, object]:
        found = original(param, low, high)
        return {"$gte": found["$gte"], "$lte": found["$lt"]}

    original = mongo_compile.term_range
    monkeypatch.setattr(mongo_compile, "term_range", inclusive)
    async with opened(tmp_path, mongodb_server) as stores:
        with pytest.raises(Disagreement, match="mongodb"):
            await prove(stores, count=COUNT * 5, start=SEED)
