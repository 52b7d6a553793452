"""Pieces of SQL text with their arguments, and how they are put together within the limits of
SQLite's parser."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

IS_WITHIN = "is_within"
"""The SQL name of `positions.is_within`."""

MOST_IN_A_ROW = 50
MOST_PLACEHOLDERS = 200


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text and its positional arguments, in order."""

    text: str
    arguments: tuple[object, ...] = ()


def join(separator: str, pieces: Sequence[Sql], empty: str) -> Sql:
    """The pieces in parentheses between separators; many as a balanced tree, because SQLite
    limits how deep an expression is."""
    if not pieces:
        return Sql(empty)
    if len(pieces) > MOST_IN_A_ROW:
        middle = len(pieces) // 2
        pieces = [join(separator, half, empty) for half in (pieces[:middle], pieces[middle:])]
    return Sql(
        "(" + separator.join(piece.text for piece in pieces) + ")",
        tuple(argument for piece in pieces for argument in piece.arguments),
    )


def union(sources: Sequence[Sql]) -> Sql:
    """What any of the sources lists; many in groups, because SQLite limits a compound select."""
    if len(sources) > MOST_IN_A_ROW:
        groups = [
            union(sources[start : start + MOST_IN_A_ROW])
            for start in range(0, len(sources), MOST_IN_A_ROW)
        ]
        sources = [Sql(f"SELECT * FROM ({group.text})", group.arguments) for group in groups]
    return Sql(
        " UNION ".join(source.text for source in sources),
        tuple(argument for source in sources for argument in source.arguments),
    )


def one_of(column: str, values: Sequence[str]) -> Sql:
    """The column equals one of the values; many travel as one argument, because SQLite limits
    their number."""
    if len(values) == 1:
        return Sql(f"{column} = ?", (values[0],))
    # SQLite's JSON ends a text at a zero.
    if len(values) <= MOST_PLACEHOLDERS or any("\0" in value for value in values):
        return Sql(f"{column} IN ({', '.join('?' * len(values))})", tuple(values))
    listed = json.dumps(values, ensure_ascii=False)
    return Sql(f"{column} IN (SELECT value FROM json_each(?))", (listed,))
