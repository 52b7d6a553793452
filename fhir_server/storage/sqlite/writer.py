"""The one writing connection: a thread that groups waiting units into one durable commit.

Each unit has a savepoint of its own; its failure undoes itself alone. Answers follow the
COMMIT, whose failure fails all units of the group. A unit is a coroutine that awaits only its
transaction, whose methods never suspend, so the thread drives it without an event loop.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from fhir_server.storage.port import T, Unit
from fhir_server.storage.sqlite.connect import connect, prepare
from fhir_server.storage.sqlite.rows import milliseconds
from fhir_server.storage.sqlite.transaction import ParameterNumbers, SqliteTransaction
from fhir_server.storage.sqlite.trouble import told

GROUP_LIMIT = 128
_Waiting = tuple[Unit[Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]


class StoreClosed(Exception):
    """The store was closed before the unit ran; nothing of it was written."""


class Writer:
    """Runs units; `after_commit` is called from the writer's thread after each commit."""

    def __init__(
        self, path: Path, clock: Callable[[], datetime], after_commit: Callable[[], None]
    ) -> None:
        self._connection = connect(path, is_writer=True)
        prepare(self._connection)
        self._numbers = ParameterNumbers(self._connection)
        self._clock = clock
        self._after_commit = after_commit
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, unit: Unit[T]) -> T:
        """Run the unit in the next group; returns after its commit."""
        if self._is_closed:
            raise StoreClosed("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.put((unit, loop, future))
        return await future

    def close(self) -> None:
        """Finish what waits, then close the connection."""
        if not self._is_closed:
            self._is_closed = True
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group = [self._waiting.get()]
            while len(group) < GROUP_LIMIT:
                try:
                    group.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            is_open = None not in group
            units = [waiting for waiting in group if waiting is not None]
            if units:
                self._commit_group(units)
        self._connection.close()

    def _commit_group(self, group: list[_Waiting]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._run_unit(unit) for unit, _, _ in group]
            self._connection.execute("COMMIT")
        except Exception as failure:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._numbers.clear()
            outcomes = [(None, told(failure))] * len(group)
        else:
            self._after_commit()
        for (_, loop, future), outcome in zip(group, outcomes, strict=True):
            _answer(loop, future, outcome)

    def _run_unit(self, unit: Unit[Any]) -> tuple[Any, Exception | None]:
        self._connection.execute("SAVEPOINT unit")
        try:
            transaction = SqliteTransaction(self._connection, self._numbers, self._clock)
            result = _drive(unit, transaction)
            transaction.finish()
        except sqlite3.OperationalError:
            # Disk full, I/O error …: the state of the whole group is in doubt.
            raise
        except Exception as failure:
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")
            self._numbers.clear()
            return None, failure
        self._connection.execute("RELEASE unit")
        return result, None

    def purge_expired(self) -> None:
        """Forget records that expired; called by a unit of the store's own."""
        self._connection.execute(
            "DELETE FROM record WHERE expires <= ?", (milliseconds(self._clock()),)
        )


def _drive(unit: Unit[Any], transaction: SqliteTransaction) -> Any:
    coroutine: Any = unit(transaction)
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    coroutine.close()
    raise RuntimeError("a unit may only await its transaction")


def _answer(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    outcome: tuple[Any, Exception | None],
) -> None:
    result, failure = outcome

    def resolve() -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)

    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)
