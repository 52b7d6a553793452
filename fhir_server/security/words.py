"""An expression of the guard in words, for people; the same expression is always put the same."""

from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    LinksTo,
    Not,
)
from fhir_server.search.terms import SEPARATOR

_SHOWN_SEPARATOR = "|"


def describe(expression: Expression, most_values: int | None = None) -> str:
    """The expression as a sentence part. Of long lists of values `most_values` are named, all
    when None."""
    if expression == EVERYTHING:
        return "all"
    if expression == NOTHING:
        return "none"
    match expression:
        case HasTerm(param, value):
            return f"{param} = {_shown(value)}"
        case HasAnyTerm(param, values):
            return f"{param} in ({_listed(sorted(values), most_values)})"
        case HasRange(param, low, high):
            return f"{param} from {_shown(low or 'the first')} up to {_shown(high or 'the last')}"
        case AllOf(tests):
            return _joined(" and ", [describe(each, most_values) for each in tests])
        case AnyOf(tests):
            return _joined(" or ", [describe(each, most_values) for each in tests])
        case Not(test):
            return f"not ({describe(test, most_values)})"
        case LinksTo(param, type_, test):
            return f"{param} names a {type_} where {describe(test, most_values)}"
    return repr(expression)


def _joined(word: str, parts: list[str]) -> str:
    return "(" + word.join(parts) + ")"


def _listed(values: list[str], most: int | None) -> str:
    shown = [_shown(each) for each in values[:most]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _shown(value: str) -> str:
    return value.replace(SEPARATOR, _SHOWN_SEPARATOR)
