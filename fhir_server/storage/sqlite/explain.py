"""How the embedded store would answer a query: SQLite's own plan of the statement that `find`
would run, and from which of its tests the search would begin."""

import re
from collections.abc import Iterable

from fhir_server.search.cost import countable
from fhir_server.search.expression import Query
from fhir_server.storage.port import COUNTED_TO, Explanation, Step
from fhir_server.storage.sqlite.connect import Connection
from fhir_server.storage.sqlite.rows import compiler, page_of

_INDEX = re.compile(r"SEARCH .* USING (?:COVERING )?INDEX (\w+)|SCAN .* USING .*INDEX (\w+)")
_TERMS = re.compile(r"(?:SEARCH|SCAN) (?:term|link|ours|theirs) USING PRIMARY KEY")


def explain(connection: Connection, query: Query) -> Explanation:
    """The explanation of `rows.find`."""
    compiled = compiler(connection)
    conjuncts = compiled.conjuncts(query)
    statement = page_of(compiled, query)
    best = compiled.start(conjuncts)
    plan = tuple(
        row[3]
        for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.arguments)
    )
    counting = compiler(connection, COUNTED_TO)
    counts = tuple((test, counting.size(test)) for test in countable(query.where))
    step = Step(f"a page of {query.type}", plan, tuple(dict.fromkeys(_indexes(plan))))
    if best is not None:
        return Explanation("terms", conjuncts[best], (step,), counts)
    return Explanation("all" if _is_sorted(plan) else "order", None, (step,), counts)


def _is_sorted(plan: Iterable[str]) -> bool:
    """Whether the matches are put in order once all are found."""
    return any("TEMP B-TREE" in line and "ORDER BY" in line for line in plan)


def _indexes(plan: Iterable[str]) -> Iterable[str]:
    for line in plan:
        if _TERMS.search(line):
            yield "term"
        found = _INDEX.search(line)
        if found is not None:
            yield found[1] or found[2]
