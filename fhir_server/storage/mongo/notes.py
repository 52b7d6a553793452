"""Audit records that stand alone, sent together: while one write is under way, the records that
come meanwhile wait for the next, so that many readers share a majority write."""

import asyncio

from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.mongo.sealed import entry_in, refresh

GROUP_LIMIT = 500
_Waiting = tuple[bytes, asyncio.Future[None]]


class Notes:
    """Appends records to the journal, in groups."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None

    async def append(self, entry: bytes) -> None:
        """Returns once a majority has the record; raises PyMongo's error when that is not known,
        as for all that were sent with it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        await done

    async def _send(self) -> None:
        try:
            while self._waiting:
                group = self._waiting[:GROUP_LIMIT]
                del self._waiting[:GROUP_LIMIT]
                await self._send_group(group)
        finally:
            self._sending = None

    async def _send_group(self, group: list[_Waiting]) -> None:
        failure: Exception | None = None
        try:
            await refresh(self._reader)
            documents: list[Document] = [entry_in(self._reader.vault, entry) for entry, _ in group]
            await self._reader.collections.journal.insert_many(documents, ordered=False)
        except Exception as raised:  # told to all who wait for this write
            failure = raised
        for _, done in group:
            if done.done():  # whoever waited has gone
                continue
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)
