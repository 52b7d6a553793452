"""A unit's view of the store: it reads and writes through the one writing connection."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

import orjson

from fhir_server.search.expression import Query
from fhir_server.storage.port import (
    Draft,
    HistoryPage,
    Key,
    Page,
    Past,
    Record,
    Stored,
    Terms,
    VersionConflict,
)
from fhir_server.storage.rotation import Resealed
from fhir_server.storage.sqlite import rows
from fhir_server.storage.sqlite.allowance import Allowance
from fhir_server.storage.sqlite.bulk import Rows
from fhir_server.storage.sqlite.connect import Connection
from fhir_server.storage.sqlite.history import history
from fhir_server.storage.sqlite.order import IN_COLUMNS
from fhir_server.storage.sqlite.resealing import reseal
from fhir_server.storage.sqlite.sealed import body_in, value_in


class ParameterNumbers(dict[str, int]):
    """Parameter key → number, remembered; cleared when the numbering rolls back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, name: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO parameter (name) VALUES (?)", (name,))
        (number,) = self._connection.execute(
            "SELECT number FROM parameter WHERE name = ?", (name,)
        ).fetchone()
        self[name] = found = int(number)
        return found


class SqliteTransaction:
    """Implements `Transaction`; its methods never suspend, so a thread can drive a unit."""

    def __init__(
        self,
        connection: Connection,
        numbers: ParameterNumbers,
        clock: Callable[[], datetime],
        allowance: Allowance,
    ) -> None:
        self._connection = connection
        self._allowance = allowance
        self._numbers = numbers
        self._clock = clock
        self._terms = Rows("INSERT OR IGNORE INTO term (param, value, rid)", 3)
        self.entries: list[bytes] = []
        """The unit's audit records, for the writer to put into the journal: no unit reads it."""

    def finish(self) -> None:
        """Write what was put off: nothing in the unit reads it any more."""
        self._terms.write(self._connection)

    async def get(self, key: Key, version: int | None = None) -> Stored | None:
        return rows.get(self._connection, key, version)

    async def find(self, query: Query) -> Page:
        self._terms.write(self._connection)
        with self._allowance.spent_on(self._connection):
            return rows.find(self._connection, query)

    async def count(self, query: Query) -> int:
        self._terms.write(self._connection)
        with self._allowance.spent_on(self._connection):
            return rows.count(self._connection, query)

    async def history(self, past: Past) -> HistoryPage:
        return history(self._connection, past)

    async def keep(self, stored: Stored) -> None:
        """Nothing is written."""

    async def reserve(self, name: str) -> None:
        """Nothing to do: units of one file run one after the other."""

    async def put(self, draft: Draft, expected: int) -> None:
        key = draft.stored.key
        if not expected and draft.stored.version == 1:
            # Whatever was there once has a row, which the insert below runs into.
            self._put_resource(draft, None, self._put_history(draft.stored))
            return
        row = self._connection.execute(
            "SELECT rid, version FROM resource WHERE type = ? AND id = ?", key
        ).fetchone()
        if (row[1] if row else 0) != expected:
            raise VersionConflict(f"{key} is at version {row[1] if row else 0}")
        self._put_resource(draft, row[0] if row else None, self._put_history(draft.stored))

    async def put_terms(self, key: Key, version: int, terms: Terms) -> None:
        row = self._connection.execute(
            "SELECT rid FROM resource WHERE type = ? AND id = ? AND version = ? AND is_deleted = 0",
            (*key, version),
        ).fetchone()
        if row is None:
            return
        self._connection.execute(
            "UPDATE resource SET updated_key = ?, date_low = ?, date_high = ?, sort = ?,"
            " tuples = ? WHERE rid = ?",
            (*self._found_by(key.type, terms), row[0]),
        )
        self._replace_terms(row[0], set(self._numbered(terms)))

    async def forget(self, key: Key) -> None:
        self._connection.execute(
            "DELETE FROM history WHERE type = ? AND id = ? AND version <"
            " (SELECT version FROM resource WHERE type = ? AND id = ?)",
            (*key, *key),
        )

    def _put_history(self, version: Stored) -> int:
        try:
            seq = self._connection.execute(
                "INSERT INTO history (type, id, version, updated, method, body)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *version.key,
                    version.version,
                    rows.milliseconds(version.updated),
                    version.method,
                    body_in(self._connection, version),
                ),
            ).lastrowid
        except sqlite3.IntegrityError:
            raise VersionConflict(f"{version.key} has a version {version.version}") from None
        return _inserted(seq)

    def _put_resource(self, draft: Draft, rid: int | None, seq: int) -> None:
        version, terms = draft.stored, draft.terms
        columns = (
            seq,
            version.version,
            int(version.is_deleted),
            *self._found_by(version.key.type, terms),
        )
        if rid is None:
            inserted = self._insert_resource((*columns, *version.key))
            self._insert_terms(_inserted(inserted), self._numbered(terms))
            return
        self._connection.execute(
            "UPDATE resource SET seq = ?, version = ?, is_deleted = ?, updated_key = ?,"
            " date_low = ?, date_high = ?, sort = ?, tuples = ? WHERE rid = ?",
            (*columns, rid),
        )
        self._replace_terms(rid, set(self._numbered(terms)))

    def _insert_resource(self, columns: tuple[str | int | None, ...]) -> int | None:
        """VersionConflict when the key has a row: its first versions may have been forgotten."""
        try:
            return self._connection.execute(
                "INSERT INTO resource (seq, version, is_deleted, updated_key, date_low,"
                " date_high, sort, tuples, type, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                columns,
            ).lastrowid
        except sqlite3.IntegrityError:
            raise VersionConflict(f"{columns[-2]}/{columns[-1]} is there already") from None

    def _found_by(self, type_: str, terms: Terms) -> tuple[str | None, ...]:
        """The columns of a resource, beside its rows in `term`, that searches look at."""
        low, high = terms.sort.get(f"{type_}.date", (None, None))
        return (
            terms.sort.get(f"{type_}._lastUpdated", (None,))[0],
            low,
            high,
            _sort_json(terms, len(type_) + 1),
            self._tuples_json(terms),
        )

    def _tuples_json(self, terms: Terms) -> str:
        if not terms.tuples:
            return "{}"
        numbers, grouped = self._numbers, dict[str, list[list[tuple[int, str]]]]()
        for param, members in terms.tuples:
            tuples = grouped.setdefault(str(numbers[param]), [])
            tuples.append([(numbers[each], value) for each, value in members])
        return orjson.dumps(grouped).decode()

    def _numbered(self, terms: Terms) -> Iterator[tuple[int, str]]:
        return ((self._numbers[param], value) for param, value in terms.terms)

    def _insert_terms(self, rid: int, terms: Iterable[tuple[int, str]]) -> None:
        self._terms.add([(param, value, rid) for param, value in terms])

    def _replace_terms(self, rid: int, wanted: set[tuple[int, str]]) -> None:
        """Write only what differs: most updates change few terms."""
        self._terms.write(self._connection)
        present = set(
            self._connection.execute("SELECT param, value FROM term WHERE rid = ?", (rid,))
        )
        self._connection.executemany(
            "DELETE FROM term WHERE param = ? AND value = ? AND rid = ?",
            [(*term, rid) for term in present - wanted],
        )
        self._insert_terms(rid, wanted - present)

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
                value_in(self._connection, record),
                revision + 1,
                rows.milliseconds(record.expires) if record.expires else None,
            ),
        )

    async def delete_record(self, kind: str, id: str) -> None:
        self._connection.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind, id))

    async def journal(self, entry: bytes) -> None:
        self.entries.append(entry)

    async def seal(self, positions: Sequence[str]) -> None:
        sequences = [int(position) for position in positions]
        gone = self._connection.execute(
            "DELETE FROM journal WHERE seq IN (SELECT value FROM json_each(?))",
            (orjson.dumps(sequences).decode(),),
        ).rowcount
        if gone != len(sequences):
            raise VersionConflict("an audit record is sealed already")

    async def reseal(self, place: str, after: str, limit: int) -> Resealed:
        """Seal under the active key what lies at the place beyond `after`."""
        return reseal(self._connection, place, after, limit)


def _sort_json(terms: Terms, prefix: int) -> str:
    """The sort keys that have no column, by code; equal ends stand once."""
    ends = {param[prefix:]: each for param, each in terms.sort.items()}
    kept = {
        code: (low,) if low == high else (low, high)
        for code, (low, high) in ends.items()
        if code not in IN_COLUMNS
    }
    return orjson.dumps(kept).decode()


def _inserted(row: int | None) -> int:
    if row is None:
        raise sqlite3.DatabaseError("the inserted row has no number")
    return row
