"""The past: versions of one resource, of types, or of all, newest first."""

import json
from datetime import datetime, timedelta

from fhir_server.storage.port import HistoryPage, Past
from fhir_server.storage.sqlite.connect import Connection
from fhir_server.storage.sqlite.rows import STORED, milliseconds, stored
from fhir_server.storage.sqlite.sql import Sql

_TICK = timedelta(milliseconds=1)


def history(connection: Connection, past: Past) -> HistoryPage:
    """One page of versions, and the places after each."""
    tests = [_scope(past), *_times(past)]
    if past.before is not None:
        tests.append(_beyond(past, past.before))
    where = " AND ".join(test.text for test in tests)
    order = "h.version DESC" if past.key else "h.updated DESC, h.seq DESC"
    rows = connection.execute(
        f"SELECT {STORED}, h.updated, h.seq FROM history h WHERE {where} ORDER BY {order} LIMIT ?",
        (*(each for test in tests for each in test.arguments), past.limit + 1),
    ).fetchall()
    page = rows[: past.limit]
    places = tuple(str(row[2]) if past.key else f"{row[6]}.{row[7]}" for row in page)
    more = places[-1] if len(rows) > past.limit and page else None
    return HistoryPage(tuple(stored(connection, row[:6]) for row in page), more, places)


def _scope(past: Past) -> Sql:
    if past.key is not None:
        return Sql("h.type = ? AND h.id = ?", past.key)
    if past.types is None:
        return Sql("1", ())
    if len(past.types) == 1:
        return Sql("h.type = ?", past.types)
    # The plus keeps to the order of time: an index of types would have to be sorted.
    return Sql("+h.type IN (SELECT value FROM json_each(?))", (json.dumps(past.types),))


def _times(past: Past) -> list[Sql]:
    tests = []
    if past.since is not None:
        tests.append(Sql("h.updated >= ?", (_from(past.since),)))
    if past.at is not None:
        low, high = past.at
        tests.append(Sql("h.updated < ?", (_from(high),)))
        superseded = (
            "NOT EXISTS (SELECT 1 FROM history n WHERE n.type = h.type AND n.id = h.id"
            " AND n.version = h.version + 1 AND n.updated <= ?)"
        )
        tests.append(Sql(superseded, (milliseconds(low),)))
    return tests


def _from(moment: datetime) -> int:
    """The first whole millisecond at the moment or later."""
    found = milliseconds(moment)
    return found if moment.microsecond % 1000 == 0 else milliseconds(moment + _TICK)


def _beyond(past: Past, place: str) -> Sql:
    if past.key is not None:
        return Sql("h.version < ?", (int(place),))
    updated, seq = place.split(".")
    return Sql("(h.updated, h.seq) < (?, ?)", (int(updated), int(seq)))
