"""The time that reads may take on a connection.

SQLite asks after every so many of its operations whether to go on: that costs nothing that could
be measured, and a read that is stopped leaves its connection, and an open transaction, as they
were. A write is never under an allowance: stopping it would undo the whole transaction.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from fhir_server.fhir.outcome import FhirError
from fhir_server.storage.budget import search_too_slow

OPERATIONS = 20_000
"""Between two looks at the clock: some milliseconds."""


class Allowance:
    """Seconds that all reads under it may take together: those of one unit, or a single one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds

    @contextmanager
    def spent_on(
        self,
        connection: sqlite3.Connection,
        refusal: Callable[[float], FhirError] = search_too_slow,
    ) -> Iterator[None]:
        """Reads inside end with the refusal when the time is over."""
        start = monotonic()
        end = start + self._left
        connection.set_progress_handler(lambda: monotonic() > end, OPERATIONS)
        try:
            yield
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise refusal(self._seconds) from None
        finally:
            connection.set_progress_handler(None, 0)
            self._left -= monotonic() - start
