"""The expressions of search parameters, read into steps.

The official parameters use eleven constructs of FHIRPath; they are read here and nothing else
is: an expression with anything further raises ExpressionError, by name.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*('[^']*'|%?\w+|!=|[.()\[\]|=])")


class ExpressionError(ValueError):
    """A search parameter's expression uses what this reader does not know."""


@dataclass(frozen=True, slots=True)
class Child:
    """The element of that name; the first step may name the type, or `%resource`."""

    name: str


@dataclass(frozen=True, slots=True)
class OfType:
    """`as T`, `.as(T)`, `.ofType(T)`: only values of the type."""

    type: str


@dataclass(frozen=True, slots=True)
class Where:
    """`.where(name = 'value')`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Resolves:
    """`.where(resolve() is T)`: only references to the type."""

    type: str


@dataclass(frozen=True, slots=True)
class WithExtension:
    """`.where(hasExtension('url'))`."""

    url: str


@dataclass(frozen=True, slots=True)
class First:
    """`[0]`."""


@dataclass(frozen=True, slots=True)
class IsSet:
    """`X.exists() and X != false`: one boolean for the resource."""


Step = Child | OfType | Where | Resolves | WithExtension | First | IsSet
Arm = tuple[Step, ...]


def arms(expression: str) -> list[Arm]:
    """The arms of a union, each as its steps."""
    reader = _Reader(expression)
    try:
        found = [reader.arm()]
        while reader.accepts("|"):
            found.append(reader.arm())
    except RecursionError:
        raise ExpressionError("the search expression is nested too deeply") from None
    reader.expect_end()
    return found


class _Reader:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens: list[str] = []
        place = 0
        while (found := _TOKEN.match(expression, place)) is not None:
            self._tokens.append(found[1])
            place = found.end()
        if expression[place:].strip():
            raise self._unknown("a character")

    def _unknown(self, what: str) -> ExpressionError:
        return ExpressionError(f"{what} in the search expression {self._expression!r}")

    def _next(self) -> str:
        if not self._tokens:
            raise self._unknown("an early end")
        return str(self._tokens.pop(0))

    def accepts(self, *tokens: str) -> bool:
        """True, and past them, when the tokens come next."""
        if tuple(self._tokens[: len(tokens)]) != tokens:
            return False
        del self._tokens[: len(tokens)]
        return True

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise self._unknown(f"{found!r} instead of {token!r}")

    def expect_end(self) -> None:
        """ExpressionError unless all is read."""
        if self._tokens:
            raise self._unknown(repr(self._tokens[0]))

    def arm(self) -> Arm:
        """One arm of the union."""
        steps: list[Step] = []
        if self.accepts("("):
            steps.extend(self.arm())
            if self.accepts("as"):
                steps.append(OfType(self._next()))
            self._expect(")")
        else:
            steps.append(Child(self._next()))
        while True:
            if self.accepts("["):
                self._expect("0")
                self._expect("]")
                steps.append(First())
            elif self.accepts("."):
                steps.extend(self._step())
            elif self.accepts("and"):
                return self._is_set(tuple(steps))
            else:
                return tuple(steps)

    def _step(self) -> list[Step]:
        name = self._next()
        if not self.accepts("("):
            return [Child(name)]
        match name:
            case "as" | "ofType":
                steps: list[Step] = [OfType(self._next())]
            case "where":
                steps = [self._where()]
            case "extension":
                steps = [Child("extension"), Where("url", self._literal())]
            case "exists":
                steps = [IsSet()]
            case _:
                raise self._unknown(f"{name}()")
        self._expect(")")
        return steps

    def _where(self) -> Step:
        if self.accepts("resolve", "(", ")", "is"):
            return Resolves(self._next())
        if self.accepts("hasExtension", "("):
            url = self._literal()
            self._expect(")")
            return WithExtension(url)
        name = self._next()
        self._expect("=")
        return Where(name, self._literal())

    def _literal(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise self._unknown(f"{token!r} instead of a text")
        return token[1:-1]

    def _is_set(self, steps: Arm) -> Arm:
        """`X.exists() and X != false`, after the `and`."""
        if steps[-1] != IsSet() or self.arm() != steps[:-1]:
            raise self._unknown("'and'")
        self._expect("!=")
        self._expect("false")
        return steps
