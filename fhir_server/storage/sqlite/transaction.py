"""A unit's view of the store: it reads and writes through the one writing connection."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from fhir_server.search.expression import Query
from fhir_server.storage.port import Draft, Key, Page, Record, Stored, Terms, VersionConflict
from fhir_server.storage.sqlite import rows


class ParameterNumbers:
    """Parameter key → number, remembered; forgotten when the numbering rolls back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            self._connection.execute("INSERT OR IGNORE INTO parameter (name) VALUES (?)", (name,))
            (number,) = self._connection.execute(
                "SELECT number FROM parameter WHERE name = ?", (name,)
            ).fetchone()
            self._numbers[name] = number
        return number

    def forget(self) -> None:
        self._numbers.clear()


class SqliteTransaction:
    """Implements `Transaction`; its methods never suspend, so a thread can drive a unit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        numbers: ParameterNumbers,
        clock: Callable[[], datetime],
    ) -> None:
        self._connection = connection
        self._numbers = numbers
        self._clock = clock

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        return rows.get(self._connection, key, version)

    async def find(self, query: Query) -> Page:
        return rows.find(self._connection, query)

    async def count(self, query: Query) -> int:
        return rows.count(self._connection, query)

    async def reserve(self, name: str) -> None:
        """Nothing to do: units of one file run one after the other."""

    async def put(self, draft: Draft, expected: int) -> None:
        version = draft.stored
        row = self._connection.execute(
            "SELECT rid, version FROM resource WHERE type = ? AND id = ?", version.key
        ).fetchone()
        if (row[1] if row else 0) != expected:
            raise VersionConflict(f"{version.key} is at version {row[1] if row else 0}")
        seq = self._connection.execute(
            "INSERT INTO history (type, id, version, updated, method, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                *version.key,
                version.version,
                rows.milliseconds(version.updated),
                version.method,
                version.body,
            ),
        ).lastrowid
        rid = self._put_resource(draft, row[0] if row else None, seq)
        self._put_terms(rid, draft.terms.terms, is_new=row is None)

    def _put_resource(self, draft: Draft, rid: int | None, seq: int | None) -> int:
        version, terms = draft.stored, draft.terms
        type_ = version.key.type
        date = terms.sort.get(f"{type_}.date", (None, None))
        columns = (
            seq,
            version.version,
            int(version.is_deleted),
            terms.sort.get(f"{type_}._lastUpdated", (None,))[0],
            *date,
            json.dumps({key: list(bounds) for key, bounds in terms.sort.items()}),
            _tuples_json(terms),
        )
        if rid is None:
            inserted = self._connection.execute(
                "INSERT INTO resource (seq, version, is_deleted, updated_key, date_low,"
                " date_high, sort, tuples, type, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*columns, *version.key),
            ).lastrowid
            if inserted is None:
                raise sqlite3.DatabaseError("the inserted row has no number")
            return inserted
        self._connection.execute(
            "UPDATE resource SET seq = ?, version = ?, is_deleted = ?, updated_key = ?,"
            " date_low = ?, date_high = ?, sort = ?, tuples = ? WHERE rid = ?",
            (*columns, rid),
        )
        return rid

    def _put_terms(self, rid: int, terms: Iterable[tuple[str, str]], *, is_new: bool) -> None:
        """Write only what differs: most updates change few terms."""
        wanted = {(self._numbers[param], value) for param, value in terms}
        present = (
            set()
            if is_new
            else set(
                self._connection.execute("SELECT param, value FROM term WHERE rid = ?", (rid,))
            )
        )
        self._connection.executemany(
            "DELETE FROM term WHERE param = ? AND value = ? AND rid = ?",
            [(*term, rid) for term in present - wanted],
        )
        self._connection.executemany(
            "INSERT INTO term (param, value, rid) VALUES (?, ?, ?)",
            [(*term, rid) for term in sorted(wanted - present)],
        )

    async def record(self, kind: str, id: str) -> Record | None:
        return rows.record(self._connection, kind, id, rows.milliseconds(self._clock()))

    async def put_record(self, record: Record, expected: int | None = None) -> None:
        present = await self.record(record.kind, record.id)
        revision = present.revision if present else 0
        if expected is not None and expected != revision:
            raise VersionConflict(f"{record.kind} {record.id} is at revision {revision}")
        self._connection.execute(
            "INSERT OR REPLACE INTO record (kind, id, value, revision, expires)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                record.kind,
                record.id,
                json.dumps(record.value),
                revision + 1,
                rows.milliseconds(record.expires) if record.expires else None,
            ),
        )

    async def delete_record(self, kind: str, id: str) -> None:
        self._connection.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind, id))

    async def journal(self, entry: bytes) -> None:
        self._connection.execute("INSERT INTO journal (entry) VALUES (?)", (entry,))

    async def seal(self, positions: Sequence[str]) -> None:
        for position in positions:
            gone = self._connection.execute(
                "DELETE FROM journal WHERE seq = ?", (int(position),)
            ).rowcount
            if gone != 1:
                raise VersionConflict(f"audit record {position} is sealed already")


def _tuples_json(terms: Terms) -> str:
    grouped: dict[str, list[list[list[str]]]] = {}
    for param, members in terms.tuples:
        grouped.setdefault(param, []).append([list(member) for member in members])
    return json.dumps(grouped)
