"""The one place where content goes into the file and comes out of it: sealed, where the store is
encrypted. Nothing else here knows."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fhir_server.storage.port import Record, Stored
from fhir_server.storage.ring import KIND, RING, new_ring, wrapped
from fhir_server.storage.sqlite.connect import Connection
from fhir_server.storage.vault import JOURNAL, is_about_keys, place_of, record_place


def begin(connection: Connection) -> None:
    """Give the vault the store's ring, which is made where there are master keys and none yet.
    UnusableKeys when the store is sealed by other keys, or no keys are given to it."""
    masters = connection.vault.masters
    if masters is not None and _ring(connection) is None:
        ring = new_ring(datetime.now(UTC), takes_plain=_has_content(connection))
        # Of several processes that begin at once, the first one's ring counts.
        connection.execute(
            "INSERT OR IGNORE INTO record (kind, id, value, revision) VALUES (?, ?, ?, 1)",
            (KIND, RING, json.dumps(wrapped(ring, masters))),
        )
    connection.vault.adopt(_ring(connection))


def refresh(connection: Connection) -> None:
    """Look for a new data key, when it is time."""
    if connection.vault.is_due:
        connection.vault.renew(_ring(connection))


def body_in(connection: Connection, version: Stored) -> bytes:
    """The body as it is written. A deletion has none."""
    if version.is_deleted:
        return version.body
    return connection.vault.seal(place_of(version), version.body)


def opened(connection: Connection, version: Stored) -> Stored:
    """The version as it was written, from what was read; Unreadable when it can't be had."""
    if version.is_deleted:
        return version
    body = content_out(connection, place_of(version), version.body)
    if body is version.body:
        return version
    return Stored(version.key, version.version, version.updated, body, version.method)


def value_in(connection: Connection, record: Record) -> str | bytes:
    """The value of a record as it is written."""
    text = json.dumps(record.value)
    if is_about_keys(record.kind) or connection.vault.ring is None:
        return text
    return connection.vault.seal(record_place(record.kind, record.id), text.encode())


def value_out(connection: Connection, kind: str, id_: str, value: str | bytes) -> dict[str, Any]:
    """The value of a record, from what was read."""
    content = value.encode() if isinstance(value, str) else value
    if not is_about_keys(kind):
        content = content_out(connection, record_place(kind, id_), content)
    found: dict[str, Any] = json.loads(content)
    return found


def entries_in(connection: Connection, entries: Sequence[bytes]) -> list[bytes]:
    """Audit records as they are written into the journal."""
    return [connection.vault.seal(JOURNAL, entry) for entry in entries]


def content_out(connection: Connection, place: str, content: bytes) -> bytes:
    """What lies at the place, opened; a key that is new here is looked for."""
    vault = connection.vault
    if not vault.knows(content):
        vault.renew(_ring(connection))
    return vault.open(place, content)


def _ring(connection: Connection) -> dict[str, Any] | None:
    row = connection.execute(
        "SELECT value FROM record WHERE kind = ? AND id = ?", (KIND, RING)
    ).fetchone()
    return None if row is None else json.loads(row[0])


def _has_content(connection: Connection) -> bool:
    tables = ("history", "record", "journal")
    found = " OR ".join(f"EXISTS (SELECT 1 FROM {table})" for table in tables)
    return bool(connection.execute(f"SELECT {found}").fetchone()[0])
