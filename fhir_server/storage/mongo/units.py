"""Runs a unit in a transaction, again after a conflict, a bounded number of times.

Conflicts are known by MongoDB's error labels and by code as well: wire-compatible engines
exist that answer the codes without the labels.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from pymongo.errors import (
    ConnectionFailure,
    DocumentTooLarge,
    InvalidOperation,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from fhir_server.fhir.outcome import too_large
from fhir_server.storage.mongo.chains import Reader
from fhir_server.storage.mongo.codes import CONFLICTS, NO_SUCH_TRANSACTION, codes_of
from fhir_server.storage.mongo.connect import MAJORITY, Session
from fhir_server.storage.mongo.sealed import refresh
from fhir_server.storage.mongo.transaction import CommitUnknown, MongoTransaction, Overtaken
from fhir_server.storage.port import T, Unit, VersionConflict

ATTEMPTS = 40
PATIENCE_SECONDS = 20.0
COMMIT_SECONDS = 10.0
"""For so long an outcome that is not known is asked for again."""
COMMIT_MILLISECONDS = 20_000

_FIRST_PAUSE_SECONDS = 0.004
_LONGEST_PAUSE_SECONDS = 0.25

_TRANSIENT = "TransientTransactionError"
_UNKNOWN = "UnknownTransactionCommitResult"


async def run(reader: Reader, clock: Callable[[], datetime], unit: Unit[T]) -> T:
    """The unit's result, after a durable commit by a majority. PyMongo's ConnectionFailure when
    nothing was committed, CommitUnknown when that is not known."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    attempt = 0
    while True:
        try:
            return await _attempt(reader, clock, unit)
        except DocumentTooLarge:
            raise too_large("the resource is too large for the store") from None
        except ConnectionFailure:
            raise  # nothing was committed; who asks goes on when the server can be asked
        except (PyMongoError, Overtaken) as failure:
            if not is_conflict(failure):
                raise
            attempt += 1
            if attempt >= ATTEMPTS or loop.time() > end:
                raise VersionConflict("too many others write the same; try again") from failure
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - spreads the retries


def is_conflict(failure: Exception) -> bool:
    """True when the transaction did nothing and another run of it may succeed."""
    if isinstance(failure, Overtaken):
        return True
    if not isinstance(failure, PyMongoError):
        return False
    return failure.has_error_label(_TRANSIENT) or not CONFLICTS.isdisjoint(codes_of(failure))


async def _attempt(reader: Reader, clock: Callable[[], datetime], unit: Unit[T]) -> T:
    await refresh(reader)
    async with reader.collections.client.start_session() as session:
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=MAJORITY,
            read_preference=ReadPreference.PRIMARY,
            max_commit_time_ms=COMMIT_MILLISECONDS,
        )
        transaction = MongoTransaction(replace(reader, session=session), session, clock)
        try:
            result = await unit(transaction)
            await transaction.send()
        except BaseException:
            with suppress(PyMongoError, InvalidOperation):
                await session.abort_transaction()
            raise
        await _commit(session)
        return result


async def _commit(session: Session) -> None:
    """Commit; an unknown outcome is asked again, which is harmless."""
    loop = asyncio.get_running_loop()
    end, was_unknown = loop.time() + COMMIT_SECONDS, False
    while True:
        try:
            await session.commit_transaction()
        except PyMongoError as failure:
            is_unknown = failure.has_error_label(_UNKNOWN)
            # Without a label, "no such transaction" may mean one that was committed: PyMongo sends
            # a commit whose answer it did not get once more by itself.
            may_be_done = was_unknown or NO_SUCH_TRANSACTION in codes_of(failure)
            is_lost = may_be_done and not is_unknown and not failure.has_error_label(_TRANSIENT)
            if is_lost or (is_unknown and loop.time() > end):
                raise CommitUnknown("the outcome of the commit is not known") from failure
            if not is_unknown:
                raise
        else:
            return
        was_unknown = True
        await asyncio.sleep(_LONGEST_PAUSE_SECONDS)
