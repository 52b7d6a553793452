"""Connections to the SQLite file: durable, concurrent with readers, and of a known schema."""

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from fhir_server.search.positions import is_within
from fhir_server.storage.sqlite.sql import IS_WITHIN
from fhir_server.storage.vault import Vault

SCHEMA_VERSION = 3
SCHEMA = Path(__file__).with_name("schema.sql")
_BUSY_SECONDS = 30.0
_UPGRADES: Mapping[int, tuple[str, ...]] = {
    1: (
        "CREATE INDEX history_by_updated ON history (updated)",
        "CREATE INDEX history_by_type ON history (type, updated)",
    ),
    # Sort keys without what has a column, equal ends once; parameters of tuples by number.
    2: (
        "UPDATE resource SET sort = (SELECT json_group_object(substr(key, instr(key, '.') + 1),"
        " CASE WHEN value ->> 0 = value ->> 1 THEN json_array(value ->> 0) ELSE json(value) END)"
        " FROM json_each(resource.sort) WHERE substr(key, instr(key, '.') + 1)"
        " NOT IN ('_id', '_lastUpdated', 'date'))",
        "INSERT OR IGNORE INTO parameter (name) SELECT DISTINCT param.key"
        " FROM resource, json_each(resource.tuples) param",
        "INSERT OR IGNORE INTO parameter (name) SELECT DISTINCT term.value ->> 0"
        " FROM resource, json_each(resource.tuples) param, json_each(param.value) element,"
        " json_each(element.value) term",
        "UPDATE resource SET tuples = (SELECT json_group_object("
        "(SELECT number FROM parameter WHERE name = param.key), json((SELECT json_group_array("
        "json((SELECT json_group_array(json_array("
        "(SELECT number FROM parameter WHERE name = term.value ->> 0), term.value ->> 1))"
        " FROM json_each(element.value) term))) FROM json_each(param.value) element)))"
        " FROM json_each(resource.tuples) param) WHERE tuples <> '{}'",
    ),
}
"""From a version of the schema to the next."""


class SchemaMismatch(Exception):
    """The file was written by a version of MedSAGE with another schema."""


class Connection(sqlite3.Connection):
    """A connection, and what opens the content that it reads."""

    vault: Vault


def connect(path: Path, vault: Vault, *, is_writer: bool, waits: bool = True) -> Connection:
    """A connection in autocommit mode; transactions are begun explicitly. One that does not wait
    raises sqlite3.OperationalError where another process holds a lock."""
    connection = sqlite3.connect(
        path,
        factory=Connection,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.vault = vault
    connection.create_function(IS_WITHIN, 4, is_within, deterministic=True)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA cache_size = -32768" if is_writer else "PRAGMA cache_size = -16384")
    if not is_writer:
        connection.execute("PRAGMA query_only = ON")
    elif vault.masters is not None:
        # What is replaced by its sealed form is to be gone from the file.
        connection.execute("PRAGMA secure_delete = ON")
    if not waits:
        connection.execute("PRAGMA busy_timeout = 0")
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Create the schema in an empty file; bring an older one up to it; refuse a file with any
    other version."""
    if _version(connection) == SCHEMA_VERSION:
        return
    # Another process may be creating the schema now: what counts is what the lock then shows.
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection)
        if found not in (0, SCHEMA_VERSION, *_UPGRADES):
            raise SchemaMismatch(
                f"the store has schema {found}, this program needs {SCHEMA_VERSION}"
            )
        statements = _statements(SCHEMA.read_text()) if found == 0 else _upgrades(found)
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _upgrades(found: int) -> Iterator[str]:
    for version in range(found, SCHEMA_VERSION):
        yield from _UPGRADES[version]


def _statements(script: str) -> Iterator[str]:
    """The statements of a script (executescript would commit the transaction it runs in)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
