"""The change feed: change streams over history, and a catch-up that misses no late commit.

A stream follows the resume token that is part of each position. Where there is none, or it has
fallen off the oplog, or the engine has no change streams, history is scanned by the time of
writing. A transaction that wrote earlier may commit later than one that wrote after it, but
ends within a minute and is reaped half a minute later at most; so a scan begins OVERLAP before
the newest version that was passed on, and drops what it has passed on already.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import ConnectionFailure, OperationFailure

from fhir_server.storage.mongo import reading
from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.connect import Collections, Document
from fhir_server.storage.port import Change
from fhir_server.storage.vault import Vault

ALLOWED_SKEW = timedelta(seconds=30)
"""How far the clocks of two writing processes may lie apart."""

OVERLAP = timedelta(seconds=120) + ALLOWED_SKEW
QUICK_OVERLAP = timedelta(seconds=5)
POLL_SECONDS = 0.5
THOROUGH_EVERY = 10
"""Every tenth poll looks back the whole OVERLAP; those between, over QUICK_OVERLAP only."""

BATCH = 200
MOST_REMEMBERED = 500_000
AWAIT_MILLISECONDS = 1000
PAUSE_SECONDS = 1.0

_INSERTIONS = [{"$match": {"operationType": "insert"}}]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the feed: when the newest version passed on was written, and the token of
    the stream if one was followed."""

    newest: datetime | None = None
    token: dict[str, Any] | None = None

    @classmethod
    def read(cls, text: str | None) -> "Position":
        if not text:
            return cls()
        milliseconds, _, token = text.partition("|")
        newest = _EPOCH + int(milliseconds) * _MILLISECOND
        return cls(newest, json.loads(token) if token else None)

    def __str__(self) -> str:
        milliseconds = ((self.newest or _EPOCH) - _EPOCH) // _MILLISECOND
        return f"{milliseconds}|{json.dumps(self.token) if self.token else ''}"


class _Lost(Exception):
    """The stream can't be resumed: catch up."""


class Feed:
    """One reader's progress. Memory is bounded: what is forgotten may be repeated."""

    def __init__(
        self, collections: Collections, after: str | None, vault: Vault | None = None
    ) -> None:
        self._reader = Reader(collections, vault=vault or Vault())
        self._history = collections.history
        self._position = Position.read(after)
        self._passed: OrderedDict[str, datetime] = OrderedDict()

    async def changes(self) -> AsyncGenerator[Change, None]:
        """Every change after the position, then those to come; outages are waited out."""
        while True:
            try:
                async with aclosing(self._run()) as run:
                    async for change in run:
                        yield change
            except (_Lost, ConnectionFailure):
                await asyncio.sleep(PAUSE_SECONDS)
                _stop_if_cancelled()

    async def _run(self) -> AsyncGenerator[Change, None]:
        token = self._position.token
        if token is None:
            token = await self._fresh_token()
            async with aclosing(self._scan(OVERLAP, token)) as scan:
                async for change in scan:
                    yield change
        follow = self._poll() if token is None else self._follow(token)
        async with aclosing(follow) as changes:
            async for change in changes:
                yield change

    async def _fresh_token(self) -> dict[str, Any] | None:
        """A token for all that commits from now on; None when there are no change streams."""
        try:
            async with await self._history.watch(_INSERTIONS) as stream:
                token = stream.resume_token
        except OperationFailure:
            return None
        return None if token is None else dict(token)

    async def _follow(self, token: dict[str, Any]) -> AsyncGenerator[Change, None]:
        try:
            async with await self._history.watch(
                _INSERTIONS, resume_after=token, max_await_time_ms=AWAIT_MILLISECONDS
            ) as stream:
                while stream.alive:
                    event = await stream.try_next()
                    _stop_if_cancelled()
                    if event is None:
                        continue
                    document = event["fullDocument"]
                    known = document["_id"] in self._passed
                    self._pass(document, dict(event["_id"]))
                    if not known:
                        yield await self._change(document)
        except OperationFailure as failure:
            self._position = Position(self._position.newest)
            raise _Lost from failure
        self._position = Position(self._position.newest)
        raise _Lost

    async def _poll(self) -> AsyncGenerator[Change, None]:
        turn = 0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            _stop_if_cancelled()
            turn += 1
            overlap = QUICK_OVERLAP if turn % THOROUGH_EVERY else OVERLAP
            async with aclosing(self._scan(overlap)) as scan:
                async for change in scan:
                    yield change

    async def _scan(
        self, overlap: timedelta, token: dict[str, Any] | None = None
    ) -> AsyncGenerator[Change, None]:
        """What was written since `overlap` before the newest and was not passed on yet. `token`
        is from before the scan: after its last version the stream has all the rest."""
        newest = self._position.newest
        where: Document = {} if newest is None else {"written": {"$gte": newest - overlap}}
        while True:
            cursor = self._history.find(
                where,
                {"_id": 1, "written": 1},
                sort=[("written", 1), ("_id", 1)],
                limit=BATCH,
                batch_size=BATCH,
            )
            batch = [document async for document in cursor]
            new = [each["_id"] for each in batch if each["_id"] not in self._passed]
            documents = [each async for each in self._history.find({"_id": {"$in": new}})]
            documents.sort(key=lambda each: (each["written"], each["_id"]))
            for left, document in zip(range(len(documents))[::-1], documents, strict=True):
                is_last = not left and len(batch) < BATCH
                self._pass(document, token if is_last else None)
                yield await self._change(document)
            if len(batch) < BATCH:
                return
            last = batch[-1]
            where = {
                "written": {"$gte": last["written"]},
                "$or": [
                    {"written": {"$gt": last["written"]}},
                    {"written": last["written"], "_id": {"$gt": last["_id"]}},
                ],
            }

    async def _change(self, document: Document) -> Change:
        return Change(str(self._position), await reading.whole(self._reader, document))

    def _pass(self, document: Document, token: dict[str, Any] | None) -> None:
        """Note that the document is passed on, and forget what no scan will meet again."""
        newest = max(self._position.newest or _EPOCH, document["written"])
        self._position = Position(newest, token)
        self._passed[document["_id"]] = document["written"]
        while self._passed:
            oldest = next(iter(self._passed))
            is_old = self._passed[oldest] < newest - OVERLAP
            if not is_old and len(self._passed) <= MOST_REMEMBERED:
                return
            del self._passed[oldest]


def _stop_if_cancelled() -> None:
    """CancelledError in a task that was told to end. The driver can lose that word while it waits
    for an answer; a feed that goes on by itself would then never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
