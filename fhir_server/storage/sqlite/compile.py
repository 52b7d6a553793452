"""Query → SQL.

Every expression compiles in two ways. A *probe* tests one resource row in hand. A *source*
lists candidate rows, for the expressions that can: equality, range, chains, and the joins of
these. A search starts from the cheapest source among its conjuncts and probes the rest; when
no source is selective it walks the sort order and probes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasRange,
    HasTerm,
    HasText,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
    SortKey,
    Together,
)

Numbers = Callable[[str], int]
"""Parameter key → its number, -1 when no resource ever had it."""
Estimate = Callable[["Sql"], int]
"""A source → how many rows it lists, counted up to SELECTIVE."""

SELECTIVE = 400
UNBOUNDED = SELECTIVE * 1000
MOST_IN_A_ROW = 50


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


@dataclass
class Compiler:
    """Compiles one query; holds the alias counter of its sub-selects."""

    number: Numbers
    estimate: Estimate
    _aliases: int = field(default=0)

    def _alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"

    def matches(self, query: Query, *, can_walk: bool = True) -> Sql:
        """`FROM … WHERE …` for the rows `r` that match, without order and keyset.

        `can_walk`: a page that needs few of many matches may walk the sort order and stop
        early; a count may not.
        """
        conjuncts = query.where.tests if isinstance(query.where, AllOf) else (query.where,)
        best = self._cheapest(conjuncts, SELECTIVE if can_walk else None)
        conditions = [
            # The plus keeps the planner from preferring an index on the type to the source.
            Sql(f"{'' if best is None else '+'}r.type = ? AND r.is_deleted = 0", (query.type,)),
            *(self.probe(test, "r") for index, test in enumerate(conjuncts) if index != best),
        ]
        if best is not None:
            source = self._require_source(conjuncts[best])
            conditions.insert(0, Sql(f"r.rid IN ({source.text})", source.arguments))
        where = join(" AND ", conditions, "1")
        return Sql(f"FROM resource r WHERE {where.text}", where.arguments)

    def _cheapest(self, conjuncts: Sequence[Expression], limit: int | None) -> int | None:
        """The index of the conjunct whose source is smallest, None when all reach the limit."""
        sizes = {
            index: self.size(test)
            for index, test in enumerate(conjuncts)
            if self.source(test) is not None
        }
        if not sizes:
            return None
        best = min(sizes, key=lambda index: sizes[index])
        return best if limit is None or sizes[best] < limit else None

    def _require_source(self, expression: Expression) -> Sql:
        source = self.source(expression)
        if source is None:
            raise TypeError(f"cannot be listed: {expression!r}")
        return source

    def size(self, expression: Expression) -> int:
        """How many rows the expression's source lists; SELECTIVE stands for "many"."""
        match expression:
            case HasTerm() | HasRange():
                return self.estimate(self._term_source(expression))
            case AllOf(tests):
                drivable = [test for test in tests if self.source(test) is not None]
                return min((self.size(test) for test in drivable), default=UNBOUNDED)
            case AnyOf(tests):
                return sum(self.size(test) for test in tests)
            case LinksTo(_, _, test) | LinkedFrom(_, _, test):
                # One target may be linked from many rows: assume twenty.
                return 20 * self.size(test)
            case _:
                return UNBOUNDED

    def source(self, expression: Expression) -> Sql | None:
        """A SELECT of rids that contains every match, exactly the matches; None if it would
        have to walk all resources."""
        match expression:
            case HasTerm() | HasRange():
                return self._term_source(expression)
            case LinksTo(param, type_, test):
                return self._links_to_source(param, type_, test)
            case LinkedFrom(type_, param, test):
                return self._linked_from_source(type_, param, test)
            case AnyOf(tests):
                sources = [self.source(test) for test in tests]
                if not sources or None in sources:
                    return None
                found = [source for source in sources if source is not None]
                return union(found)
            case AllOf(tests):
                return self._all_source(tests)
            case _:
                return None

    def _all_source(self, tests: tuple[Expression, ...]) -> Sql | None:
        drivable = [test for test in tests if self.source(test) is not None]
        if not drivable:
            return None
        best = min(drivable, key=self.size)
        source = self._require_source(best)
        alias = self._alias()
        rest = join(" AND ", [self.probe(test, alias) for test in tests if test is not best], "1")
        return Sql(
            f"SELECT {alias}.rid FROM resource {alias} "
            f"WHERE {alias}.rid IN ({source.text}) AND {rest.text}",
            source.arguments + rest.arguments,
        )

    def _term_source(self, test: HasTerm | HasRange) -> Sql:
        condition = self._term_condition(test, "value")
        return Sql(
            f"SELECT rid FROM term WHERE param = ? AND {condition.text}",
            (self.number(test.param), *condition.arguments),
        )

    def _links_to_source(self, param: str, type_: str, test: Expression) -> Sql | None:
        inner = self.source(test)
        if inner is None:
            return None
        return Sql(
            "SELECT rid FROM term WHERE param = ? AND value IN "
            "(SELECT type || '/' || id FROM resource"
            f" WHERE type = ? AND is_deleted = 0 AND rid IN ({inner.text}))",
            (self.number(param), type_, *inner.arguments),
        )

    def _linked_from_source(self, type_: str, param: str, test: Expression) -> Sql | None:
        inner = self.source(test)
        if inner is None:
            return None
        return Sql(
            "SELECT target.rid FROM term link JOIN resource target"
            " ON target.type = substr(link.value, 1, instr(link.value, '/') - 1)"
            " AND target.id = substr(link.value, instr(link.value, '/') + 1)"
            f" WHERE link.param = ? AND link.rid IN ({inner.text})",
            (self.number(param), *inner.arguments),
        )

    def probe(self, expression: Expression, alias: str) -> Sql:
        """A condition on the resource row `alias`."""
        match expression:
            case HasTerm() | HasRange() | HasText():
                return self._term_probe(expression, alias)
            case Together(param, tests):
                return self._together(param, tests, alias)
            case LinksTo(param, type_, test):
                return self._links_to(param, type_, test, alias)
            case LinkedFrom(type_, param, test):
                return self._linked_from(type_, param, test, alias)
            case AllOf(tests):
                return join(" AND ", [self.probe(test, alias) for test in tests], "1")
            case AnyOf(tests):
                return join(" OR ", [self.probe(test, alias) for test in tests], "0")
            case Not(test):
                inner = self.probe(test, alias)
                return Sql(f"NOT ({inner.text})", inner.arguments)
            case _:
                raise TypeError(f"not an expression: {expression!r}")

    def _term_probe(self, test: HasTerm | HasRange | HasText, alias: str) -> Sql:
        condition = self._term_condition(test, "value")
        return Sql(
            f"EXISTS (SELECT 1 FROM term WHERE rid = {alias}.rid AND param = ?"
            f" AND {condition.text})",
            (self.number(test.param), *condition.arguments),
        )

    def _term_condition(self, test: HasTerm | HasRange | HasText, column: str) -> Sql:
        match test:
            case HasTerm(_, value):
                return Sql(f"{column} = ?", (value,))
            case HasText(_, part):
                return Sql(f"instr({column}, ?) > 0", (part,))
            case HasRange(_, low, high):
                bounds = [
                    Sql(f"{column} {operator} ?", (bound,))
                    for operator, bound in ((">=", low), ("<", high))
                    if bound is not None
                ]
                return join(" AND ", bounds, "1")
            case _:
                raise TypeError(f"not a test of one term: {test!r}")

    def _together(
        self, param: str, tests: tuple[HasTerm | HasRange | HasText, ...], alias: str
    ) -> Sql:
        """Tuples lie beside the resource as `{"param": [[[param, value], …], …]}`."""
        each = []
        for test in tests:
            condition = self._term_condition(test, "term.value ->> 1")
            each.append(
                Sql(
                    "EXISTS (SELECT 1 FROM json_each(element.value) term"
                    f" WHERE term.value ->> 0 = ? AND {condition.text})",
                    (test.param, *condition.arguments),
                )
            )
        together = join(" AND ", each, "1")
        return Sql(
            f"EXISTS (SELECT 1 FROM json_each({alias}.tuples, ?) element WHERE {together.text})",
            (f'$."{param}"', *together.arguments),
        )

    def _links_to(self, param: str, type_: str, test: Expression, alias: str) -> Sql:
        target = self._alias()
        inner = self.probe(test, target)
        return Sql(
            f"EXISTS (SELECT 1 FROM term link JOIN resource {target}"
            f" ON {target}.type = ? AND {target}.id = substr(link.value, ?)"
            f" WHERE link.rid = {alias}.rid AND link.param = ?"
            " AND link.value >= ? AND link.value < ?"
            f" AND {target}.is_deleted = 0 AND {inner.text})",
            (type_, len(type_) + 2, self.number(param), f"{type_}/", f"{type_}0", *inner.arguments),
        )

    def _linked_from(self, type_: str, param: str, test: Expression, alias: str) -> Sql:
        source = self._alias()
        inner = self.probe(test, source)
        return Sql(
            f"EXISTS (SELECT 1 FROM term link JOIN resource {source} ON {source}.rid = link.rid"
            f" WHERE link.param = ? AND link.value = {alias}.type || '/' || {alias}.id"
            f" AND {source}.type = ? AND {source}.is_deleted = 0 AND {inner.text})",
            (self.number(param), type_, *inner.arguments),
        )


INDEXED_KEYS = {
    ("_lastUpdated", False): "updated_key",
    ("_lastUpdated", True): "updated_key",
    ("date", False): "date_low",
    ("date", True): "date_high",
}


def sort_column(key: SortKey, alias: str = "r") -> str:
    """The SQL expression of one sort key: a column with an index, or a look into `sort`."""
    type_, _, code = key.param.partition(".")
    if not (type_.isalnum() and code.replace("-", "").replace("_", "").isalnum()):
        raise ValueError(f"not a sortable parameter: {key.param}")
    column = INDEXED_KEYS.get((code, key.is_descending))
    if column is not None:
        return f"{alias}.{column}"
    bound = 1 if key.is_descending else 0
    return f"json_extract({alias}.sort, '$.\"{key.param}\"[{bound}]')"


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
