"""A file that an earlier program wrote is brought up to date when it is opened."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from fhir_server.search.expression import HasTerm, Query, SortKey, Terms, Together, TupleOfTerms
from fhir_server.storage.port import Draft, Key, Stored, Transaction
from fhir_server.storage.sqlite.store import SqliteStore

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
CODE, STATUS, PAIR = "Observation.code", "Observation.status", "Observation.pair"


def draft(id: str, low: str, high: str) -> Draft:
    """An Observation that sorts by code between `low` and `high`, with one tuple."""
    together = TupleOfTerms(PAIR, ((CODE, low), (STATUS, "final")))
    terms = Terms(
        terms=((CODE, low), (CODE, high), (STATUS, "final")),
        tuples=(together,),
        sort={CODE: (low, high), "Observation._id": (id, id), "Observation.date": ("1", "2")},
    )
    return Draft(Stored(Key("Observation", id), 1, NOW, b"{}", "POST"), terms)


def as_in_version_2(path: Path, drafts: list[Draft]) -> None:
    """Write the columns as version 2 had them: everything by its whole name."""
    connection = sqlite3.connect(path)
    for each in drafts:
        tuples: dict[str, list[object]] = {}
        for param, members in each.terms.tuples:
            tuples.setdefault(param, []).append(members)
        connection.execute(
            "UPDATE resource SET sort = ?, tuples = ? WHERE id = ?",
            (json.dumps(dict(each.terms.sort)), json.dumps(tuples), each.stored.key.id),
        )
    connection.execute("DELETE FROM parameter WHERE name = ?", (PAIR,))
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()


async def test_version_2_sorts_and_finds_tuples_as_before(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    drafts = [draft("a", "5", "5"), draft("b", "3", "9"), draft("c", "4", "4")]
    store = SqliteStore.open(path)

    async def write(transaction: Transaction) -> None:
        for each in drafts:
            await transaction.put(each, 0)

    await store.transaction(write)
    await store.close()
    as_in_version_2(path, drafts)

    store = SqliteStore.open(path)
    for is_descending, expected in ((False, "bca"), (True, "bac")):
        query = Query("Observation", sort=(SortKey(CODE, is_descending),))
        found = (await store.find(query)).matches
        assert "".join(each.key.id for each in found) == expected
    pair = Together(PAIR, (HasTerm(CODE, "3"), HasTerm(STATUS, "final")))
    crossed = Together(PAIR, (HasTerm(CODE, "9"), HasTerm(STATUS, "final")))
    assert [each.key.id for each in (await store.find(Query("Observation", pair))).matches] == ["b"]
    assert (await store.find(Query("Observation", crossed))).matches == ()
    await store.close()
