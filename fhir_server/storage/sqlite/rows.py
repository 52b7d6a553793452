"""Statements on one connection, used alike by readers and by the writer's transactions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from fhir_server.search.expression import Query
from fhir_server.storage.port import JournalEntry, Key, Page, Record, Stored
from fhir_server.storage.sqlite.compile import SELECTIVE, Compiler
from fhir_server.storage.sqlite.connect import Connection
from fhir_server.storage.sqlite.order import keyset, order_by, sort_column
from fhir_server.storage.sqlite.sealed import content_out, opened, value_out
from fhir_server.storage.sqlite.sql import Sql
from fhir_server.storage.vault import JOURNAL

STORED = "h.type, h.id, h.version, h.updated, h.body, h.method"
"""The columns of `history h` that make a Stored."""
LIGHT_BYTES = 65_536


def milliseconds(moment: datetime) -> int:
    """UTC milliseconds since 1970, exact."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def moment(value: int) -> datetime:
    """The inverse of `milliseconds`."""
    seconds, rest = divmod(value, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def stored(connection: Connection, row: tuple[str, str, int, int, bytes, str]) -> Stored:
    """The version that a row of history holds."""
    type_, id_, version, updated, body, method = row
    return opened(connection, Stored(Key(type_, id_), version, moment(updated), body, method))


class IsHeavy(Exception):
    """The body is too long to be read on the event loop."""


_FROM_CURRENT = "FROM resource r JOIN history h ON h.seq = r.seq WHERE r.type = ? AND r.id = ?"
_FROM_PAST = "FROM history h WHERE h.type = ? AND h.id = ? AND h.version = ?"
# The length of a BLOB is known from the head of its row: nothing else of a long one is read.
_LIGHT = f"h.version, h.updated, iif(length(h.body) <= {LIGHT_BYTES}, h.body, NULL), h.method"


def get(connection: Connection, key: Key, version: int | None) -> Stored | None:
    """The current version (None) or the given one, deleted ones too."""
    if version is None:
        row = connection.execute(f"SELECT {STORED} {_FROM_CURRENT}", key).fetchone()
    else:
        row = connection.execute(f"SELECT {STORED} {_FROM_PAST}", (*key, version)).fetchone()
    return stored(connection, row) if row else None


def get_light(connection: Connection, key: Key, version: int | None) -> Stored | None:
    """The same where the body is of LIGHT_BYTES or less; IsHeavy for a longer one."""
    if version is None:
        row = connection.execute(f"SELECT {_LIGHT} {_FROM_CURRENT}", key).fetchone()
    else:
        row = connection.execute(f"SELECT {_LIGHT} {_FROM_PAST}", (*key, version)).fetchone()
    if row is None:
        return None
    version, updated, body, method = row
    if body is None:
        raise IsHeavy
    return opened(connection, Stored(key, version, moment(updated), body, method))


def current(
    connection: Connection, after: Key | None, limit: int, since: datetime | None
) -> list[Stored]:
    """Current versions that are not deleted, by type and id."""
    found = connection.execute(
        f"SELECT {STORED} FROM resource r JOIN history h ON h.seq = r.seq"
        " WHERE (r.type, r.id) > (?, ?) AND r.is_deleted = 0 AND h.updated >= ?"
        " ORDER BY r.type, r.id LIMIT ?",
        (*(after or ("", "")), milliseconds(since) if since else 0, limit),
    )
    return [stored(connection, row) for row in found]


def compiler(connection: Connection, most: int = SELECTIVE) -> Compiler:
    """A compiler for one query; candidates are counted up to `most`."""

    @cache
    def number(name: str) -> int:
        row = connection.execute("SELECT number FROM parameter WHERE name = ?", (name,)).fetchone()
        return row[0] if row else -1

    def estimate(source: Sql) -> int:
        (count,) = connection.execute(
            f"SELECT count(*) FROM ({source.text} LIMIT {most})",
            source.arguments,
        ).fetchone()
        return int(count)

    return Compiler(number, estimate)


def page_of(compiler: Compiler, query: Query) -> Sql:
    """The statement of one page: the columns of a Stored, `seq`, and the sort keys; one row more
    than the page has room for."""
    keys = ", ".join([*(sort_column(key) for key in query.sort), "r.id"])
    matches = compiler.matches(query, f"r.seq, {keys}")
    arguments = list(matches.arguments)
    text = matches.text
    if query.after is not None:
        beyond = keyset(query.sort, query.after)
        text += f" AND {beyond.text}"
        arguments += beyond.arguments
    # The inner select finds and orders rows without touching bodies.
    return Sql(
        f"SELECT {STORED}, m.* FROM ({text}"
        f" ORDER BY {order_by(query.sort)} LIMIT ?) m JOIN history h ON h.seq = m.seq",
        (*arguments, query.limit + 1),
    )


def find(connection: Connection, query: Query) -> Page:
    """One page of matches, and the keys after which the next begins."""
    statement = page_of(compiler(connection), query)
    rows = connection.execute(statement.text, statement.arguments).fetchall()
    page = rows[: query.limit]
    places = tuple(row[7:] for row in page)
    more = places[-1] if len(rows) > query.limit and page else None
    return Page(tuple(stored(connection, row[:6]) for row in page), more, places)


def count(connection: Connection, query: Query) -> int:
    """The number of matches on all pages."""
    matches = compiler(connection).matches(query, "count(*)", can_walk=False)
    (total,) = connection.execute(matches.text, matches.arguments).fetchone()
    return int(total)


def changes(connection: Connection, after: int, limit: int) -> list[tuple[int, Stored]]:
    """Versions committed after the sequence number, each with its own."""
    rows = connection.execute(
        f"SELECT h.seq, {STORED} FROM history h WHERE h.seq > ? ORDER BY h.seq LIMIT ?",
        (after, limit),
    )
    return [(row[0], stored(connection, row[1:])) for row in rows]


def journal(connection: Connection, limit: int, newest_first: bool = False) -> list[JournalEntry]:
    """The oldest entries that wait to be sealed, or the newest."""
    order = "DESC" if newest_first else "ASC"
    rows = connection.execute(
        f"SELECT seq, entry FROM journal ORDER BY seq {order} LIMIT ?", (limit,)
    )
    return [JournalEntry(str(seq), content_out(connection, JOURNAL, entry)) for seq, entry in rows]


def records(
    connection: Connection, kind: str, ids: tuple[str, str, str], page: tuple[int, int]
) -> Sequence[Record]:
    """`ids` is (from, to, after) and `page` is (limit, now in milliseconds)."""
    limit, now = page
    rows = connection.execute(
        "SELECT kind, id, value, revision, expires FROM record WHERE kind = ?"
        " AND id >= ? AND id < ? AND id > ? AND (expires IS NULL OR expires > ?)"
        " ORDER BY id LIMIT ?",
        (kind, *ids, now, limit),
    )
    return [_record(connection, row) for row in rows]


def record(connection: Connection, kind: str, id_: str, now: int) -> Record | None:
    """The record unless it expired by `now` (milliseconds)."""
    row = connection.execute(
        "SELECT kind, id, value, revision, expires FROM record WHERE kind = ? AND id = ?"
        " AND (expires IS NULL OR expires > ?)",
        (kind, id_, now),
    ).fetchone()
    return None if row is None else _record(connection, row)


def _record(connection: Connection, row: tuple[str, str, str | bytes, int, int | None]) -> Record:
    kind, id_, value, revision, expires = row
    found = value_out(connection, kind, id_, value)
    return Record(kind, id_, found, revision, moment(expires) if expires else None)
