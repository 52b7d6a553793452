"""Many rows in few statements: each statement costs a hand-over between threads."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain

SIZES = (128, 32, 8, 2, 1)
"""Rows per statement; few sizes, so that prepared statements are found again."""


class Rows:
    """Rows that wait to be inserted into a table, in order; `start` is the statement up to
    VALUES."""

    def __init__(self, start: str, columns: int) -> None:
        self._start = start
        self._columns = columns
        self._waiting: list[Sequence[object]] = []

    def add(self, rows: Sequence[Sequence[object]]) -> None:
        """Insert these when the rows are written."""
        self._waiting += rows

    def write(self, connection: sqlite3.Connection) -> None:
        """Insert what waits."""
        rows, self._waiting = self._waiting, []
        place = 0
        for size in SIZES:
            while len(rows) - place >= size:
                values = tuple(chain.from_iterable(rows[place : place + size]))
                connection.execute(insert(self._start, self._columns, size), values)
                place += size


@cache
def insert(start: str, columns: int, size: int) -> str:
    """The statement that inserts so many rows; `start` is what comes before VALUES."""
    row = f"({', '.join('?' * columns)})"
    return f"{start} VALUES {', '.join([row] * size)}"
