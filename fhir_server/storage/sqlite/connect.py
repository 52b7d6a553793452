"""Connections to the SQLite file: durable, and concurrent with readers."""

import sqlite3
from pathlib import Path

from fhir_server.search.positions import is_within
from fhir_server.storage.sqlite.sql import IS_WITHIN
from fhir_server.storage.vault import Vault

_BUSY_SECONDS = 30.0


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
