"""The reading connections of the embedded store: one on the event loop's own thread for what is
found by its key, and threads for everything else."""

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fhir_server.storage.port import T
from fhir_server.storage.sqlite.answers import StoreClosed, deliver, outcome_of
from fhir_server.storage.sqlite.connect import Connection, connect
from fhir_server.storage.vault import Vault

THREADS = 4
_Asked = tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]]


class Readers:
    """Runs reads, each a function of a connection and its arguments."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._path = path
        self._vault = vault
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._own: Connection | None = None
        self._is_closed = False

    def at_once(self, function: Callable[..., T], *arguments: Any) -> T:
        """For a few rows found by their key alone: they take less than handing them to a thread
        and back would. Raises sqlite3.OperationalError rather than wait for a lock."""
        if self._own is None:
            self._check_open()
            self._own = connect(self._path, self._vault, is_writer=False, waits=False)
        return function(self._own, *arguments)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """In a thread, of which there are as many as are needed, up to THREADS."""
        self._check_open()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.put((function, arguments, future))
        if not self._idle.acquire(blocking=False) and len(self._threads) < THREADS:
            name = f"sqlite-reader-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._read, name=name, daemon=True))
            self._threads[-1].start()
        return await future

    def close(self) -> None:
        """Finish what was asked, then close the connections."""
        self._is_closed = True
        for _ in self._threads:
            self._asked.put(None)
        for each in self._threads:
            each.join()
        if self._own is not None:
            self._own.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed("the store is closed")

    def _read(self) -> None:
        connection: Connection | None = None

        def ask(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
            nonlocal connection
            if connection is None:  # here, so that whoever asks hears why it can't be opened
                connection = connect(self._path, self._vault, is_writer=False)
            return function(connection, *arguments)

        while asked := self._asked.get():
            function, arguments, future = asked
            outcome = outcome_of(ask, function, arguments)
            self._idle.release()
            deliver([(future, outcome)])
        if connection is not None:
            connection.close()
