"""Sealing anew what lies in the file, and counting it by the keys that seal it."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fhir_server.storage.ring import KIND
from fhir_server.storage.rotation import BYTES_AT_ONCE, Resealed
from fhir_server.storage.sqlite.connect import Connection, connect
from fhir_server.storage.sqlite.readers import Readers
from fhir_server.storage.sqlite.sealed import content_out
from fhir_server.storage.vault import (
    JOURNAL,
    Unreadable,
    Vault,
    body_place,
    key_of,
    record_place,
)

_COUNTED = (
    ("body", "history WHERE method <> 'DELETE'"),
    ("value", f"record WHERE kind <> '{KIND}'"),
    ("entry", "journal"),
)


class SqliteSealing:
    """The encryption of an open file."""

    def __init__(self, path: Path, vault: Vault, readers: Readers) -> None:
        self.vault = vault
        self._path = path
        self._readers = readers

    async def census(self) -> Mapping[int, int]:
        """How much content lies under each data key."""
        return await self._readers.run(_census)

    async def sweep(self) -> None:
        """Write the file anew without what lay in its free pages, and empty the log beside it;
        writers wait meanwhile."""
        await asyncio.to_thread(self._vacuum)

    def _vacuum(self) -> None:
        with closing(connect(self._path, self.vault, is_writer=True)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _census(connection: Connection) -> dict[int, int]:
    found: Counter[int] = Counter()
    for column, rows in _COUNTED:
        head = f"CASE typeof({column}) WHEN 'blob' THEN substr({column}, 1, 5) ELSE x'' END"
        for start, count in connection.execute(f"SELECT {head}, count(*) FROM {rows} GROUP BY 1"):
            found[key_of(start)] += count
    return dict(found)


class _Row(NamedTuple):
    position: str
    place: str
    content: bytes
    update: str
    key: tuple[str | int, ...]


def reseal(connection: Connection, place: str, after: str, limit: int) -> Resealed:
    """Seal under the active key what lies at the place beyond `after`: `limit` rows of it, or
    fewer where they are long."""
    batch, has_more = _batch(_WALKS[place](connection, after), limit)
    count, unreadable = 0, []
    for row in batch:
        if key_of(row.content) == connection.vault.active:
            continue
        try:
            content = content_out(connection, row.place, row.content)
        except Unreadable as problem:
            unreadable.append(str(problem))
            continue
        connection.execute(row.update, (connection.vault.seal(row.place, content), *row.key))
        count += 1
    return Resealed(count, batch[-1].position if has_more else None, tuple(unreadable))


def _batch(rows: Iterable[_Row], limit: int) -> tuple[list[_Row], bool]:
    batch: list[_Row] = []
    size = 0
    for row in rows:
        if len(batch) == limit or size > BYTES_AT_ONCE:
            return batch, True
        batch.append(row)
        size += len(row.content)
    return batch, False


def _history(connection: Connection, after: str) -> Iterator[_Row]:
    rows = connection.execute(
        "SELECT seq, type, id, version, body FROM history"
        " WHERE seq > ? AND method <> 'DELETE' ORDER BY seq",
        (int(after or 0),),
    )
    for seq, type_, id_, version, body in rows:
        place = body_place(f"{type_}/{id_}", version)
        yield _Row(str(seq), place, body, "UPDATE history SET body = ? WHERE seq = ?", (seq,))


def _records(connection: Connection, after: str) -> Iterator[_Row]:
    rows = connection.execute(
        "SELECT kind, id, value FROM record WHERE (kind, id) > (?, ?) AND kind <> ?"
        " ORDER BY kind, id",
        (*(json.loads(after) if after else ("", "")), KIND),
    )
    update = "UPDATE record SET value = ? WHERE kind = ? AND id = ?"
    for kind, id_, value in rows:
        content = value.encode() if isinstance(value, str) else value
        key = (kind, id_)
        yield _Row(json.dumps(key), record_place(kind, id_), content, update, key)


def _journal(connection: Connection, after: str) -> Iterator[_Row]:
    rows = connection.execute(
        "SELECT seq, entry FROM journal WHERE seq > ? ORDER BY seq", (int(after or 0),)
    )
    for seq, entry in rows:
        yield _Row(str(seq), JOURNAL, entry, "UPDATE journal SET entry = ? WHERE seq = ?", (seq,))


_WALKS: Mapping[str, Callable[[Connection, str], Iterator[_Row]]] = {
    "history": _history,
    "records": _records,
    "journal": _journal,
}
