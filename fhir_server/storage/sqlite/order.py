"""The order of matches in SQL, and the condition of a page to come after another."""

from collections.abc import Sequence

from fhir_server.search.expression import SortKey
from fhir_server.storage.sqlite.sql import Sql, join

INDEXED_KEYS = {
    ("_lastUpdated", False): "updated_key",
    ("_lastUpdated", True): "updated_key",
    ("date", False): "date_low",
    ("date", True): "date_high",
    ("_id", False): "id",
    ("_id", True): "id",
}
"""Sort keys that are columns; `sort` does without them."""

IN_COLUMNS = frozenset(code for code, _ in INDEXED_KEYS)


def sort_column(key: SortKey, alias: str = "r") -> str:
    """The SQL expression of one sort key: a column with an index, or a look into `sort`."""
    type_, _, code = key.param.partition(".")
    if not (type_.isalnum() and code.replace("-", "").replace("_", "").isalnum()):
        raise ValueError(f"not a sortable parameter: {key.param}")
    column = INDEXED_KEYS.get((code, key.is_descending))
    if column is not None:
        return f"{alias}.{column}"
    bound = "#-1" if key.is_descending else "0"
    return f"json_extract({alias}.sort, '$.\"{code}\"[{bound}]')"


def order_by(sort: Sequence[SortKey]) -> str:
    """Missing values last both ways; the id breaks ties."""
    return ", ".join(
        [
            *(
                f"{sort_column(key)} {'DESC' if key.is_descending else 'ASC'} NULLS LAST"
                for key in sort
            ),
            "r.id",
        ]
    )


def keyset(sort: Sequence[SortKey], after: Sequence[str | None]) -> Sql:
    """The condition that a row comes after `after` in the order of `order_by`."""
    alternatives: list[Sql] = []
    equal: list[Sql] = []
    for key, value in zip(sort, after, strict=False):
        column = sort_column(key)
        if value is not None:
            beyond = "<" if key.is_descending else ">"
            alternatives.append(
                join(
                    " AND ",
                    [*equal, Sql(f"({column} {beyond} ? OR {column} IS NULL)", (value,))],
                    "1",
                )
            )
        equal.append(Sql(f"{column} IS NULL") if value is None else Sql(f"{column} = ?", (value,)))
    alternatives.append(join(" AND ", [*equal, Sql("r.id > ?", (after[-1],))], "1"))
    return join(" OR ", alternatives, "0")
