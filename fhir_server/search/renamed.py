"""A query about one type said of another: for parameters that every resource has."""

from dataclasses import replace

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
    Not,
    Query,
    TermTest,
    Together,
)


def renamed(query: Query, type_: str) -> Query:
    """The query, with the parameters of its own type as those of `type_`."""
    own, other = f"{query.type}.", f"{type_}."

    def name(param: str) -> str:
        return other + param.removeprefix(own) if param.startswith(own) else param

    def test(one: TermTest | Lacks) -> TermTest | Lacks:
        if isinstance(one, Lacks):
            return Lacks(replace(one.test, param=name(one.test.param)))
        return replace(one, param=name(one.param))

    def expression(found: Expression) -> Expression:
        match found:
            case HasTerm() | HasRange() | HasText() | HasAnyTerm():
                return replace(found, param=name(found.param))
            case Together(param, tests):
                return Together(name(param), tuple(test(each) for each in tests))
            case AllOf(tests):
                return AllOf(tuple(expression(each) for each in tests))
            case AnyOf(tests):
                return AnyOf(tuple(expression(each) for each in tests))
            case Not(inner):
                return Not(expression(inner))
            case LinkedFrom():
                # What refers here is of a type of its own.
                return found
        raise TypeError(f"no expression about every resource: {found!r}")

    sort = tuple(replace(key, param=name(key.param)) for key in query.sort)
    return replace(query, type=type_, where=expression(query.where), sort=sort)
