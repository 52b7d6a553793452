"""Stores that earlier programs wrote: brought forward step by step, killed or several at once, and
refused where a later program wrote them. The files are dumps made by code of each schema."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from typer.testing import CliRunner

from deploy.checks.store import _schema
from deploy.commands.migrate import app as command
from deploy.restoring import _index
from fhir_server.storage.mongo import connect as mongo
from fhir_server.storage.mongo import migrations as mongo_migrations
from fhir_server.storage.port import Past
from fhir_server.storage.schema import SchemaMismatch, SchemaState, Step
from fhir_server.storage.sqlite import migrations
from fhir_server.storage.sqlite.migrations import SCHEMA_VERSION, advance, state
from fhir_server.storage.sqlite.store import SqliteStore
from tests.fhir_world import BASE, fhir_world
from tests.stores import draft, mongodb_place, put

SAMPLES = Path(__file__).parents[1] / "samples/stores"
EARLIER = range(1, SCHEMA_VERSION)


def laid_out(schema: int, path: Path) -> Path:
    """The file as the program of that schema left it."""
    with closing(sqlite3.connect(path)) as file:
        file.executescript((SAMPLES / f"sqlite-{schema}.sql").read_text())
    return path


def content(path: Path) -> list[str]:
    """All that the file holds, as SQL."""
    with closing(sqlite3.connect(path)) as file:
        version = file.execute("PRAGMA user_version").fetchone()[0]
        return [f"schema {version}", *sorted(file.iterdump())]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "AT_ONCE", 2)
    monkeypatch.setattr(mongo_migrations, "AT_ONCE", 2)


def steps(connection: sqlite3.Connection) -> Iterator[Step]:
    while (step := advance(connection)) is not None:
        yield step


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30)


@pytest.mark.parametrize("schema", EARLIER)
async def test_what_each_schema_stored_is_found_sorted_and_remembered(
    tmp_path: Path, schema: int
) -> None:
    store = SqliteStore.open(laid_out(schema, tmp_path / "fhir.sqlite"))
    await _index(store, BASE)
    async with fhir_world(tmp_path, store=store) as world:
        found = (await world.get("/Patient?family=Sow")).json()
        assert [each["resource"]["id"] for each in found["entry"]] == ["anna"]
        past = (await world.get("/Patient/anna/_history")).json()
        assert [each["resource"]["meta"]["versionId"] for each in past["entry"]] == ["2", "1"]
        assert (await world.get("/Patient/gone")).status_code == 410
        of_type = (await world.get("/Patient/_history")).json()
        assert of_type["total"] == 5
        by_value = "/Observation?_sort=-value-quantity&code=8310-5"
        sorted_ = (await world.get(by_value)).json()
        assert [each["resource"]["id"] for each in sorted_["entry"]] == ["o0", "o1"]
        pair = "component-code-value-quantity=8480-6$121"
        together = (await world.get(f"/Observation?{pair}")).json()
        assert [each["resource"]["id"] for each in together["entry"]] == ["o1"]
        crossed = await world.get("/Observation?component-code-value-quantity=8480-6$81")
        assert crossed.json()["total"] == 0
    await store.close()


@pytest.mark.usefixtures("small_batches")
def test_a_migration_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, cut = laid_out(1, tmp_path / "whole"), laid_out(1, tmp_path / "cut")
    with closing(opened(whole)) as connection:
        assert [step.to for step in steps(connection)] == [2, 2, 3, 3, 3, 3]
    with closing(opened(cut)) as connection:
        for _ in range(4):
            advance(connection)
        left = state(connection)
    assert [(each.to, each.done, each.total) for each in left.steps] == [(3, 4, 6)]
    with closing(sqlite3.connect(cut)) as older:
        assert older.execute("PRAGMA user_version").fetchone() == (-2,), "nobody's to use"
    with closing(opened(cut)) as connection:
        assert [step.done for step in steps(connection)] == [6, 6]
    assert content(cut) == content(whole)


@pytest.mark.usefixtures("small_batches")
def test_two_programs_at_once_do_each_batch_once(tmp_path: Path) -> None:
    alone, shared = laid_out(1, tmp_path / "alone"), laid_out(1, tmp_path / "shared")
    with closing(opened(alone)) as connection:
        expected = [str(step) for step in steps(connection)]
    with closing(opened(shared)) as one, closing(opened(shared)) as other:
        turns = [str(step) for pair in zip(steps(one), steps(other), strict=False) for step in pair]
    assert turns == expected
    assert content(shared) == content(alone)


def test_a_later_programs_file_is_refused_in_a_sentence_and_left_as_it_is(tmp_path: Path) -> None:
    path = laid_out(3, tmp_path / "later")
    for version in (SCHEMA_VERSION + 1, -SCHEMA_VERSION):
        with closing(sqlite3.connect(path)) as file:
            file.execute(f"PRAGMA user_version = {version}")
        before = content(path)
        with pytest.raises(SchemaMismatch, match="start the version that the store was used with"):
            SqliteStore.open(path)
        assert content(path) == before


def test_a_store_that_nobody_has_begun_is_told_as_such() -> None:
    assert _schema(SchemaState(None, 2)).found == "none yet: the first start makes it"


def run(data: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, [*options, "--data", str(data)])
    return done.exit_code, done.output


def test_the_command_says_what_it_would_do_and_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path)[0] == 0, "no store is no failure, and none is made"
    path = laid_out(2, tmp_path / "medsage.sqlite")
    before = path.read_bytes()
    code, told = run(tmp_path, "--dry-run")
    assert (code, path.read_bytes()) == (0, before)
    assert "Schema 2; this version's is 3" in told
    assert "(0 of 6)" in told
    assert run(tmp_path, "--status")[0] == 1
    code, told = run(tmp_path)
    assert (code, "Schema 3: current." in told) == (0, True), told
    assert run(tmp_path, "--status") == (0, "Schema 3: current.\n")
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM journal").fetchone()[0] > 0
        file.execute("PRAGMA user_version = 9")
    code, told = run(tmp_path)
    assert code == 2
    assert "the store has schema 9, and this version of MedSAGE knows schemas up to 3" in told


async def as_version_1(uri: str, database: str) -> None:
    """Take back what makes version 2."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        await client[database]["history"].update_many({}, {"$unset": {"type": ""}})
        await client[database]["schema"].delete_one({"_id": "store"})


@pytest.mark.mongodb
@pytest.mark.usefixtures("small_batches")
async def test_mongodb_is_brought_forward_in_batches_by_several_at_once(
    mongodb_server: str,
) -> None:
    async with mongodb_place(mongodb_server) as place:
        drafts = [draft(f"Patient/{number}") for number in range(5)]
        await put(await place.store(), *drafts)
        await as_version_1(*place.address)
        async with mongo.connect(place.address[0]) as client:
            collections = mongo.collections(client, place.address[1])
            before = await mongo_migrations.state(collections)
            assert (before.found, [each.total for each in before.steps]) == (1, [5])
            found = await mongo_migrations._begin(collections)
            told: list[Step] = []
            for _ in range(2):  # begun, and one batch; then "killed"
                told.append(await mongo_migrations._advance(collections, found))
                found = await mongo_migrations._begun(collections)
            assert [each.done for each in told] == [0, 2]
            left = await mongo_migrations.state(collections)
            assert [(each.done, each.total) for each in left.steps] == [(2, 5)]
            done: list[Step] = []
            show = done.append
            both = (mongo_migrations.prepare(collections, show) for _ in range(2))
            await asyncio.gather(*both)
            assert all(each.done <= each.total == 5 for each in done)
            assert (await mongo_migrations.state(collections)).is_current
        again = await place.store()
        assert len((await again.history(Past(types=("Patient",)))).versions) == 5


@pytest.mark.mongodb
async def test_a_later_mongodb_store_is_used_where_it_says_so_and_refused_elsewhere(
    mongodb_server: str,
) -> None:
    async with mongodb_place(mongodb_server) as place:
        await place.store()
        async with AsyncMongoClient[dict[str, Any]](mongodb_server) as client:
            schema = client[place.address[1]]["schema"]
            later = {"version": 3, "oldest": 2}
            await schema.update_one({"_id": "store"}, {"$set": later})
            await put(await place.store(), draft("Patient/1"))
            await schema.update_one({"_id": "store"}, {"$set": {"oldest": 3}})
            with pytest.raises(SchemaMismatch, match="knows schemas up to 2"):
                await place.store()
