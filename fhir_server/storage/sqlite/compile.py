"""Query → SQL.

Every expression compiles in two ways. A *probe* tests one resource row in hand. A *source*
lists candidate rows, for the expressions that can: equality, range, chains, and the joins of
these. A search starts from the cheapest source among its conjuncts and probes the rest; when
no source is selective it walks the sort order and probes.

SQLite's parser takes only so much nesting. What a source is made from is therefore a named
part in front of the statement, and so is a probe that would lie too deep: it becomes the list
of all rows that pass it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fhir_server.search.expression import (
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
    Shares,
    TermTest,
    Together,
    Within,
)
from fhir_server.storage.sqlite.possible import possible
from fhir_server.storage.sqlite.sql import IS_WITHIN, Sql, join, one_of, union

Numbers = Callable[[str], int]
"""Parameter key → its number, -1 when no resource ever had it."""
Estimate = Callable[[Sql], int]
"""A source → how many rows it lists, counted up to SELECTIVE."""

SELECTIVE = 400
UNBOUNDED = SELECTIVE * 1000
MOST_NESTED = 5
MOST_SOUGHT = 8
"""Values of one test that are sought one by one among the terms of a row."""


_Listed = HasTerm | HasRange | HasAnyTerm | Within


@dataclass
class Compiler:
    """Compiles one query; holds its named parts and the alias counter of its sub-selects."""

    number: Numbers
    estimate: Estimate
    _parts: list[Sql] = field(default_factory=list)
    _asked: list[Expression] = field(default_factory=list)
    _sizes: dict[int, int] = field(default_factory=dict)
    _listed: dict[int, str] = field(default_factory=dict)
    _aliases: int = 0
    _nested: int = 0

    def matches(self, query: Query, columns: str, *, can_walk: bool = True) -> Sql:
        """`SELECT columns FROM resource r WHERE …` for the rows that match, without order and
        keyset.

        `can_walk`: a page that needs few of many matches may walk the sort order and stop
        early; a count may not.
        """
        conjuncts = self.conjuncts(query)
        best = self.start(conjuncts, can_walk=can_walk)
        conditions = [
            # The plus keeps the planner from preferring an index on the type to the source.
            Sql(f"{'' if best is None else '+'}r.type = ? AND r.is_deleted = 0", (query.type,)),
            *(self.probe(test, "r") for index, test in enumerate(conjuncts) if index != best),
        ]
        if best is not None:
            source = self.source(conjuncts[best])
            conditions.insert(0, Sql(f"r.rid IN ({source.text})", source.arguments))
        where = join(" AND ", conditions, "1")
        front = self._front()
        return Sql(
            f"{front.text}SELECT {columns} FROM resource r WHERE {where.text}",
            front.arguments + where.arguments,
        )

    def conjuncts(self, query: Query) -> tuple[Expression, ...]:
        """The tests that a match must all pass."""
        where = possible(query.where, lambda param: self.number(param) >= 0)
        self._asked.append(where)  # sizes are kept by identity, which must not pass to others
        return where.tests if isinstance(where, AllOf) else (where,)

    def _front(self) -> Sql:
        if not self._parts:
            return Sql("")
        parts = ", ".join(f"p{index} AS ({part.text})" for index, part in enumerate(self._parts))
        return Sql(
            f"WITH {parts} ",
            tuple(argument for part in self._parts for argument in part.arguments),
        )

    def _named(self, part: Sql) -> str:
        self._parts.append(part)
        return f"p{len(self._parts) - 1}"

    def _alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"

    def start(self, conjuncts: Sequence[Expression], *, can_walk: bool = True) -> int | None:
        """The index of the conjunct whose source is smallest: there the search begins. None when
        it walks instead, because all reach the limit."""
        sizes = {index: self.size(test) for index, test in enumerate(conjuncts) if can_list(test)}
        if not sizes:
            return None
        best = min(sizes, key=lambda index: sizes[index])
        return best if not can_walk or sizes[best] < SELECTIVE else None

    def size(self, expression: Expression) -> int:
        """How many rows the expression's source lists; SELECTIVE stands for "many"."""
        found = self._sizes.get(id(expression))
        if found is None:
            found = self._sizes[id(expression)] = self._size(expression)
        return found

    def _size(self, expression: Expression) -> int:
        match expression:
            case HasTerm() | HasRange() | HasAnyTerm() | Within():
                return self.estimate(self._term_source(expression))
            case AllOf(tests):
                return min((self.size(test) for test in tests if can_list(test)), default=UNBOUNDED)
            case AnyOf(tests):
                return sum(self._size(test) for test in _grouped(tests))
            case LinksTo(_, _, test) | LinkedFrom(_, _, test) | Shares(_, _, _, test):
                # One target may be linked from many rows: assume twenty.
                return 20 * self.size(test)
            case _:
                return UNBOUNDED

    def source(self, expression: Expression) -> Sql:
        """A SELECT of exactly the rids of what matches; for what `can_list`."""
        match expression:
            case HasTerm() | HasRange() | HasAnyTerm() | Within():
                return self._term_source(expression)
            case LinksTo(param, type_, test):
                return self._links_to_source(param, type_, test)
            case LinkedFrom(type_, param, test):
                return self._linked_from_source(type_, param, test)
            case Shares():
                return self._shares_source(expression)
            case AnyOf(tests):
                return union([self.source(test) for test in _grouped(tests)])
            case AllOf(tests):
                return self._all_source(tests)
            case _:
                raise TypeError(f"cannot be listed: {expression!r}")

    def _all_source(self, tests: tuple[Expression, ...]) -> Sql:
        best = min((test for test in tests if can_list(test)), key=self.size)
        name, alias = self._named(self.source(best)), self._alias()
        rest = join(" AND ", [self.probe(test, alias) for test in tests if test is not best], "1")
        return Sql(
            f"SELECT {alias}.rid FROM resource {alias} WHERE {alias}.rid IN {name} AND {rest.text}",
            rest.arguments,
        )

    def _term_source(self, test: _Listed) -> Sql:
        condition = _term_condition(test, "value")
        return Sql(
            f"SELECT rid FROM term WHERE param = ? AND {condition.text}",
            (self.number(test.param), *condition.arguments),
        )

    def _links_to_source(self, param: str, type_: str, test: Expression) -> Sql:
        name = self._named(self.source(test))
        return Sql(
            "SELECT rid FROM term WHERE param = ? AND value IN "
            "(SELECT type || '/' || id FROM resource"
            f" WHERE type = ? AND is_deleted = 0 AND rid IN {name})",
            (self.number(param), type_),
        )

    def _linked_from_source(self, type_: str, param: str, test: Expression) -> Sql:
        name = self._named(self.source(test))
        return Sql(
            "SELECT target.rid FROM term link JOIN resource target"
            " ON target.type = substr(link.value, 1, instr(link.value, '/') - 1)"
            " AND target.id = substr(link.value, instr(link.value, '/') + 1)"
            f" WHERE link.param = ? AND link.rid IN {name}",
            (self.number(param),),
        )

    def _shares_source(self, shares: Shares) -> Sql:
        name = self._named(self.source(shares.test))
        return Sql(
            "SELECT rid FROM term WHERE param = ? AND value IN (SELECT theirs.value"
            f" FROM term theirs JOIN resource other ON other.rid = theirs.rid"
            f" WHERE theirs.param = ? AND other.type = ? AND other.is_deleted = 0"
            f" AND theirs.rid IN {name})",
            (self.number(shares.param), self.number(shares.other), shares.type),
        )

    def probe(self, expression: Expression, alias: str) -> Sql:
        """A condition on the resource row `alias`."""
        match expression:
            case HasTerm() | HasRange() | HasText() | HasAnyTerm() | Within():
                return self._term_probe(expression, alias)
            case Together(param, tests):
                return self._together(param, tests, alias)
            case AllOf(()):
                return Sql("1")
            case AnyOf(()):
                return Sql("0")
            case _ if self._nested >= MOST_NESTED:
                return self._listed_probe(expression, alias)
        self._nested += 1
        try:
            return self._joined_probe(expression, alias)
        finally:
            self._nested -= 1

    def _joined_probe(self, expression: Expression, alias: str) -> Sql:
        match expression:
            case LinksTo(param, type_, test):
                return self._links_to(param, type_, test, alias)
            case LinkedFrom(type_, param, test):
                return self._linked_from(type_, param, test, alias)
            case Shares():
                return self._shares(expression, alias)
            case AllOf(tests):
                return join(" AND ", [self.probe(test, alias) for test in tests], "1")
            case AnyOf(tests):
                return join(" OR ", [self.probe(test, alias) for test in _grouped(tests)], "0")
            case Not(test):
                inner = self.probe(test, alias)
                return Sql(f"NOT ({inner.text})", inner.arguments)
            case _:
                raise TypeError(f"not an expression: {expression!r}")

    def _listed_probe(self, expression: Expression, alias: str) -> Sql:
        """Whether the row is among all that pass, listed once in front of the statement."""
        name = self._listed.get(id(expression))
        if name is None:
            nested, self._nested = self._nested, 0
            name = self._listed[id(expression)] = self._named(self._every(expression))
            self._nested = nested
        return Sql(f"{alias}.rid IN {name}")

    def _every(self, expression: Expression) -> Sql:
        if can_list(expression):
            return self.source(expression)
        alias = self._alias()
        test = self._joined_probe(expression, alias)
        return Sql(f"SELECT {alias}.rid FROM resource {alias} WHERE {test.text}", test.arguments)

    def _term_probe(self, test: _Listed | HasText, alias: str) -> Sql:
        is_long = isinstance(test, HasAnyTerm) and len(test.values) > MOST_SOUGHT
        # A row has few terms of a parameter: these are looked up in a long list, not the reverse.
        condition = _term_condition(test, "+value" if is_long else "value")
        return Sql(
            f"EXISTS (SELECT 1 FROM term WHERE rid = {alias}.rid AND param = ?"
            f" AND {condition.text})",
            (self.number(test.param), *condition.arguments),
        )

    def _together(self, param: str, tests: tuple[TermTest | Lacks, ...], alias: str) -> Sql:
        """Tuples lie beside the resource as `{"number": [[[number, value], …], …]}`, by the
        numbers of the parameters."""
        each = []
        for one in tests:
            negation, test = ("NOT ", one.test) if isinstance(one, Lacks) else ("", one)
            condition = _term_condition(test, "term.value ->> 1")
            each.append(
                Sql(
                    f"{negation}EXISTS (SELECT 1 FROM json_each(element.value) term"
                    f" WHERE term.value ->> 0 = ? AND {condition.text})",
                    (self.number(test.param), *condition.arguments),
                )
            )
        together = join(" AND ", each, "1")
        return Sql(
            f"EXISTS (SELECT 1 FROM json_each({alias}.tuples, ?) element WHERE {together.text})",
            (f'$."{self.number(param)}"', *together.arguments),
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

    def _shares(self, shares: Shares, alias: str) -> Sql:
        other = self._alias()
        inner = self.probe(shares.test, other)
        return Sql(
            "EXISTS (SELECT 1 FROM term ours JOIN term theirs ON theirs.value = ours.value"
            f" JOIN resource {other} ON {other}.rid = theirs.rid"
            f" WHERE ours.rid = {alias}.rid AND ours.param = ? AND theirs.param = ?"
            f" AND {other}.type = ? AND {other}.is_deleted = 0 AND {inner.text})",
            (self.number(shares.param), self.number(shares.other), shares.type, *inner.arguments),
        )


def can_list(expression: Expression) -> bool:
    """Whether a source can list the matches without a walk over all resources."""
    match expression:
        case HasTerm() | HasRange() | HasAnyTerm() | Within():
            return True
        case LinksTo(_, _, test) | LinkedFrom(_, _, test) | Shares(_, _, _, test):
            return can_list(test)
        case AllOf(tests):
            return any(can_list(test) for test in tests)
        case AnyOf(tests):
            return bool(tests) and all(can_list(test) for test in tests)
        case _:
            return False


def _grouped(tests: Sequence[Expression]) -> list[Expression]:
    """The alternatives, those of one parameter's values put together."""
    values: dict[str, list[str]] = {}
    rest: list[Expression] = []
    for test in tests:
        if isinstance(test, HasTerm):
            values.setdefault(test.param, []).append(test.value)
        else:
            rest.append(test)
    together = [HasAnyTerm(param, frozenset(found)) for param, found in values.items()]
    return [*together, *rest]


def _term_condition(test: _Listed | HasText, column: str) -> Sql:
    match test:
        case HasTerm(_, value):
            return Sql(f"{column} = ?", (value,))
        case HasAnyTerm(_, values):
            return one_of(column, sorted(values))
        case HasText(_, part):
            return Sql(f"instr({column}, ?) > 0", (part,))
        case HasRange(_, low, high):
            return _between(column, low, high)
        case Within(_, cells, latitude, longitude, metres):
            covered = join(" OR ", [_between(column, *cell) for cell in cells], "0")
            return Sql(
                f"({covered.text} AND {IS_WITHIN}({column}, ?, ?, ?))",
                (*covered.arguments, latitude, longitude, metres),
            )
        case _:
            raise TypeError(f"not a test of one term: {test!r}")


def _between(column: str, low: str | None, high: str | None) -> Sql:
    bounds = [
        Sql(f"{column} {operator} ?", (bound,))
        for operator, bound in ((">=", low), ("<", high))
        if bound is not None
    ]
    return join(" AND ", bounds, "1")
