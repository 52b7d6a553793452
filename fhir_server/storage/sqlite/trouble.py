"""SQLite's troubles with its file, in the port's own words."""

import sqlite3

from fhir_server.storage.port import StoreFull, StoreUnavailable

_OF_THE_FILE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_PRIMARY = 0xFF
"""Extended result codes carry the primary one in their lowest byte."""


def told(failure: Exception) -> Exception:
    """StoreFull for a full disk, StoreUnavailable for a read-only or unreadable file or one that
    others hold: nothing was written, and the same request may succeed later. Any other failure as
    it is."""
    if not isinstance(failure, sqlite3.OperationalError):
        return failure
    code = getattr(failure, "sqlite_errorcode", None)
    if code is None or code & _PRIMARY not in _OF_THE_FILE:
        return failure
    kind = StoreFull if code & _PRIMARY == sqlite3.SQLITE_FULL else StoreUnavailable
    unavailable = kind(failure.sqlite_errorname)
    unavailable.__cause__ = failure
    return unavailable
