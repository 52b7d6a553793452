"""The one writing connection: a thread that groups what waits into one durable commit.

Audit records that stand alone are most of what comes: those of a group are one statement, and
a group of nothing else is that statement alone. Units run one after the other; where one of
several fails, all are rolled back and run again, each with a savepoint of its own, so that its
failure undoes itself alone. Answers follow the COMMIT, whose failure fails all of the group.
Each statement hands the interpreter over between threads, which costs more than the statement:
hence few of them.

A unit is a coroutine that awaits only its transaction, whose methods never suspend, so the
thread drives it without an event loop.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fhir_server.fhir.outcome import FhirError
from fhir_server.storage.port import T, Unit
from fhir_server.storage.sqlite import sealed
from fhir_server.storage.sqlite.allowance import Allowance
from fhir_server.storage.sqlite.answers import Answer, Outcome, StoreClosed, deliver
from fhir_server.storage.sqlite.bulk import insert
from fhir_server.storage.sqlite.connect import connect
from fhir_server.storage.sqlite.migrations import prepare
from fhir_server.storage.sqlite.rows import milliseconds
from fhir_server.storage.sqlite.transaction import ParameterNumbers, SqliteTransaction
from fhir_server.storage.sqlite.trouble import told
from fhir_server.storage.vault import Vault

GROUP_LIMIT = 128
_JOURNAL = "INSERT INTO journal (entry)"
_Waiting = tuple[Unit[Any] | bytes, asyncio.Future[Any]]
"""A unit, or an audit record that stands alone, and who waits for its commit."""


class Writer:
    """Runs units; `after_commit` is called from the writer's thread after each commit of some.
    The searches of one unit may take `search_seconds` together, since all writes wait for them."""

    def __init__(
        self,
        opening: tuple[Path, Vault],
        clock: Callable[[], datetime],
        after_commit: Callable[[], None],
        search_seconds: float,
    ) -> None:
        self._connection = connect(*opening, is_writer=True)
        prepare(self._connection)
        sealed.begin(self._connection)
        self._numbers = ParameterNumbers(self._connection)
        self._clock = clock
        self._after_commit = after_commit
        self._search_seconds = search_seconds
        self._arriving: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._waiting: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, unit: Unit[T]) -> T:
        """Run the unit in the next group; returns after its commit."""
        result: T = await self._put(unit)
        return result

    async def note(self, entry: bytes) -> None:
        """Append an audit record in the next group; returns after its commit."""
        await self._put(entry)

    def close(self) -> None:
        """Finish what waits, then close the connection."""
        if not self._is_closed:
            self._is_closed = True
            for loop in tuple(self._arriving):
                self._hand_over(loop)
            self._waiting.put(None)
            self._thread.join()

    def _put(self, asked: Unit[Any] | bytes) -> asyncio.Future[Any]:
        if self._is_closed:
            raise StoreClosed("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        arriving = self._arriving.get(loop)
        if arriving is None:
            # What the loop finds ready in one turn comes as one group: to wake the thread for the
            # first of it makes small commits, and both threads wait for the interpreter.
            arriving = self._arriving[loop] = []
            loop.call_soon(self._hand_over, loop)
        arriving.append((asked, future))
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        arrived = self._arriving.pop(loop, None)
        if arrived:
            self._waiting.put(arrived)

    def _run(self) -> None:
        is_open = True
        while is_open:
            arrived: list[list[_Waiting] | None] = [self._waiting.get()]
            while not self._waiting.empty():
                arrived.append(self._waiting.get())
            is_open = None not in arrived
            waiting = [each for group in arrived if group for each in group]
            for start in range(0, len(waiting), GROUP_LIMIT):
                deliver(self._commit_group(waiting[start : start + GROUP_LIMIT]))
        self._connection.close()

    def _commit_group(self, group: Sequence[_Waiting]) -> list[Answer]:
        entries = [asked for asked, _ in group if isinstance(asked, bytes)]
        units = [asked for asked, _ in group if not isinstance(asked, bytes)]
        try:
            outcomes = iter(self._committed(units, entries))
        except Exception as failure:
            self._roll_back()
            lost = None, told(failure)
            return [(future, lost) for _, future in group]
        if units:
            self._after_commit()
        done: Outcome = None, None
        return [
            (future, done if isinstance(asked, bytes) else next(outcomes))
            for asked, future in group
        ]

    def _committed(self, units: Sequence[Unit[Any]], entries: list[bytes]) -> Sequence[Outcome]:
        """What became of the units, after the commit of the whole group."""
        sealed.refresh(self._connection)
        if not units:
            self._journal(entries)
            return ()
        self._connection.execute("BEGIN IMMEDIATE")
        outcomes: list[Outcome] = []
        try:
            journal = list(entries)
            for unit in units:
                outcome = self._run_unit(unit, journal), None
                outcomes.append(outcome)  # one by one: their number tells which unit failed
        except sqlite3.OperationalError:
            # Disk full, I/O error …: the state of the whole group is in doubt.
            raise
        except Exception as failure:
            self._roll_back()
            if len(units) == 1 and not entries:
                return [(None, failure)]
            # What took too long would take as long again, and the others wait.
            costly = units[len(outcomes)] if _is_too_costly(failure) else None
            self._connection.execute("BEGIN IMMEDIATE")
            journal = list(entries)
            outcomes = [
                (None, failure) if unit is costly else self._run_apart(unit, journal)
                for unit in units
            ]
        for start in range(0, len(journal), GROUP_LIMIT):
            self._journal(journal[start : start + GROUP_LIMIT])
        self._connection.execute("COMMIT")
        return outcomes

    def _journal(self, entries: Sequence[bytes]) -> None:
        rows = sealed.entries_in(self._connection, entries)
        self._connection.execute(insert(_JOURNAL, 1, len(rows)), rows)

    def _run_unit(self, unit: Unit[T], journal: list[bytes]) -> T:
        """The unit's result; its audit records are added to the group's."""
        allowance = Allowance(self._search_seconds)
        transaction = SqliteTransaction(self._connection, self._numbers, self._clock, allowance)
        result = _drive(unit, transaction)
        transaction.finish()
        journal += transaction.entries
        return result

    def _run_apart(self, unit: Unit[Any], journal: list[bytes]) -> Outcome:
        self._connection.execute("SAVEPOINT unit")
        try:
            result = self._run_unit(unit, journal)
        except sqlite3.OperationalError:
            raise
        except Exception as failure:
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")
            self._numbers.clear()
            return None, failure
        self._connection.execute("RELEASE unit")
        return result, None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._numbers.clear()

    def purge_expired(self) -> None:
        """Forget records that expired; called by a unit of the store's own."""
        self._connection.execute(
            "DELETE FROM record WHERE expires <= ?", (milliseconds(self._clock()),)
        )


def _is_too_costly(failure: Exception) -> bool:
    return isinstance(failure, FhirError) and any(
        issue.code == "too-costly" for issue in failure.issues
    )


def _drive(unit: Unit[T], transaction: SqliteTransaction) -> T:
    coroutine: Any = unit(transaction)
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a unit may only await its transaction")
