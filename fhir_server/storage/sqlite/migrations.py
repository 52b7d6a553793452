"""The embedded store's schema, from each version to the next.

`user_version` of the file is its schema, and its negative while it is being left: neither the
older nor the newer program takes a file that is half rewritten for its own. The row of the table
`migration`, which is there only meanwhile, says how far it is. Each call of `advance` is one
transaction of its own.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog

from fhir_server.storage.schema import AT_ONCE, SchemaState, Show, Step, newer
from fhir_server.storage.sqlite.connect import connect
from fhir_server.storage.vault import Vault

SCHEMA_VERSION = 3
SCHEMA = Path(__file__).with_name("schema.sql")
_log = structlog.get_logger("medsage.store")


@dataclass(frozen=True, slots=True)
class Statement:
    """Done at once."""

    what: str
    sql: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Done for the rows of `resource` from `:after` (not included) to `:last`, batch by batch."""

    what: str
    sql: tuple[str, ...]


MIGRATIONS: Mapping[int, tuple[Statement | Rows, ...]] = {
    1: (
        Statement(
            "an index of all versions by time",
            "CREATE INDEX history_by_updated ON history (updated)",
        ),
        Statement(
            "an index of the versions of each type by time",
            "CREATE INDEX history_by_type ON history (type, updated)",
        ),
    ),
    2: (
        Rows(
            "sort keys without what has a column, parameters of tuples by number",
            (
                "UPDATE resource SET sort = (SELECT json_group_object("
                "substr(key, instr(key, '.') + 1),"
                " CASE WHEN value ->> 0 = value ->> 1 THEN json_array(value ->> 0)"
                " ELSE json(value) END)"
                " FROM json_each(resource.sort) WHERE substr(key, instr(key, '.') + 1)"
                " NOT IN ('_id', '_lastUpdated', 'date')) WHERE rid > :after AND rid <= :last",
                "INSERT OR IGNORE INTO parameter (name) SELECT DISTINCT param.key"
                " FROM resource, json_each(resource.tuples) param"
                " WHERE rid > :after AND rid <= :last",
                "INSERT OR IGNORE INTO parameter (name) SELECT DISTINCT term.value ->> 0"
                " FROM resource, json_each(resource.tuples) param,"
                " json_each(param.value) element, json_each(element.value) term"
                " WHERE rid > :after AND rid <= :last",
                "UPDATE resource SET tuples = (SELECT json_group_object("
                "(SELECT number FROM parameter WHERE name = param.key), json((SELECT"
                " json_group_array(json((SELECT json_group_array(json_array("
                "(SELECT number FROM parameter WHERE name = term.value ->> 0), term.value ->> 1))"
                " FROM json_each(element.value) term))) FROM json_each(param.value) element)))"
                " FROM json_each(resource.tuples) param)"
                " WHERE tuples <> '{}' AND rid > :after AND rid <= :last",
            ),
        ),
    ),
}
"""Version → the steps from it to the next. Every version that was ever written is here."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a migration is: its step, the last row that is done, and how many of how many are."""

    step: int
    after: int
    done: int
    total: int


def prepare(connection: sqlite3.Connection, show: Show | None = None) -> None:
    """Lay out an empty file; bring an older one up to this program's schema; SchemaMismatch for a
    newer one."""
    tell = show or _logged
    while (step := advance(connection)) is not None:
        tell(step)


def _logged(step: Step) -> None:
    _log.warning("the store is brought up to date", step=str(step))


def advance(connection: sqlite3.Connection) -> Step | None:
    """One batch towards this program's schema, in a transaction; None when there is nothing to do
    any more. Several may do this at once, also from several processes."""
    if _version(connection) == SCHEMA_VERSION:
        return None
    connection.execute("BEGIN IMMEDIATE")
    try:
        # What counts is what the lock shows: another process may have been faster.
        step = _advanced(connection, _version(connection))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return step


def _advanced(connection: sqlite3.Connection, version: int) -> Step | None:
    _check(version)
    if version == SCHEMA_VERSION:
        return None
    if version == 0:
        for statement in _statements(SCHEMA.read_text()):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return None
    if version > 0:
        connection.execute("CREATE TABLE migration (step, after, done, total)")
        connection.execute("INSERT INTO migration VALUES (0, 0, 0, 0)")
        connection.execute(f"PRAGMA user_version = -{version}")
    return _batch(connection, abs(version))


def _batch(connection: sqlite3.Connection, version: int) -> Step:
    place = _place(connection)
    steps = MIGRATIONS[version]
    work = steps[place.step]
    if isinstance(work, Statement):
        connection.execute(work.sql)
        done, then = Step(version + 1, work.what, 1), _Place(place.step + 1, 0, 0, 0)
    else:
        then = _rows(connection, work, place)
        done = Step(version + 1, work.what, then.done, then.total)
        if then.done == place.done:  # no row was left
            then = _Place(place.step + 1, 0, 0, 0)
    if then.step == len(steps):
        connection.execute("DROP TABLE migration")
        connection.execute(f"PRAGMA user_version = {version + 1}")
    else:
        row = (then.step, then.after, then.done, then.total)
        connection.execute("UPDATE migration SET (step, after, done, total) = (?, ?, ?, ?)", row)
    return done


def _rows(connection: sqlite3.Connection, work: Rows, place: _Place) -> _Place:
    total = place.total or _count(connection)
    last, count = connection.execute(
        "SELECT max(rid), count(*) FROM"
        " (SELECT rid FROM resource WHERE rid > ? ORDER BY rid LIMIT ?)",
        (place.after, AT_ONCE),
    ).fetchone()
    if not count:
        return _Place(place.step, place.after, place.done, total)
    for statement in work.sql:
        connection.execute(statement, {"after": place.after, "last": last})
    return _Place(place.step, last, place.done + count, total)


def state(connection: sqlite3.Connection) -> SchemaState:
    """What is to be done, for whoever asks before it is; SchemaMismatch for a newer file."""
    version = _version(connection)
    _check(version)
    if version == 0:
        return SchemaState(None, SCHEMA_VERSION)
    return SchemaState(abs(version), SCHEMA_VERSION, tuple(_steps(connection, version)))


def state_of(path: Path) -> SchemaState:
    """The same of a file that is not opened otherwise; nothing is made."""
    if not path.exists():
        return SchemaState(None, SCHEMA_VERSION)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return state(connection)


def bring_forward(path: Path, show: Show) -> None:
    """`prepare` for a file that is not opened otherwise."""
    with closing(connect(path, Vault(), is_writer=True)) as connection:
        prepare(connection, show)


def _steps(connection: sqlite3.Connection, version: int) -> Iterator[Step]:
    place = _place(connection) if version < 0 else _Place(0, 0, 0, 0)
    for each in range(abs(version), SCHEMA_VERSION):
        for number, work in enumerate(MIGRATIONS[each]):
            is_under_way = each == -version and number == place.step
            if each == -version and number < place.step:
                continue
            total = 1 if isinstance(work, Statement) else _count(connection)
            yield Step(each + 1, work.what, place.done if is_under_way else 0, total)


def _check(version: int) -> None:
    if abs(version) not in (0, SCHEMA_VERSION, *MIGRATIONS) or version == -SCHEMA_VERSION:
        raise newer(version, SCHEMA_VERSION)


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _place(connection: sqlite3.Connection) -> _Place:
    return _Place(*connection.execute("SELECT step, after, done, total FROM migration").fetchone())


def _count(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT count(*) FROM resource").fetchone()
    return int(found)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script (executescript would commit the transaction it runs in)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
