"""Filters (`_filter`), read and judged on one resource: by rewriting each test as the ordinary
criteria that say the same."""

import json
import re
from collections.abc import Callable
from operator import contains, eq, ge, gt, le, lt, ne

from bench.oracle.texts import folded

Meets = Callable[[str, str], bool]
"""Whether the resource meets one criterion, a name and a value."""
Values = Callable[[str], list[str]]
"""The texts of a string parameter in the resource."""

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+')
_MODIFIERS = {
    "eq": "", "re": "", "sw": ":below", "ss": ":below", "sb": ":above", "in": ":in",
    "ni": ":not-in",
}  # fmt: skip
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "eq": eq, "ne": ne, "co": contains, "sw": str.startswith, "gt": gt, "ge": ge, "lt": lt,
    "le": le,
}  # fmt: skip


def passes(text: str, kind: Callable[[str], str], meets: Meets, values: Values) -> bool:
    """Whether the resource passes the filter; `kind` says of what type a parameter is."""
    pieces = _PIECE.findall(text)

    def one() -> bool:
        piece = pieces.pop(0)
        if piece == "not":
            return not one()
        if piece == "(":
            found = several()
            assert pieces.pop(0) == ")"
            return found
        operator, value = pieces.pop(0), pieces.pop(0)
        wanted = str(json.loads(value)) if value.startswith('"') else value
        return test(piece, operator, wanted)

    def several() -> bool:
        found = one()
        while pieces and pieces[0] in ("and", "or"):
            is_and, other = pieces.pop(0) == "and", one()
            found = (found and other) if is_and else (found or other)
        return found

    def test(name: str, operator: str, value: str) -> bool:
        if operator == "pr":
            return meets(f"{name}:missing", "false" if value == "true" else "true")
        match kind(name):
            case "string":
                wanted = folded(value)
                return any(_TEXTS[operator](folded(each), wanted) for each in values(name))
            case "token" | "reference" | "uri":
                return meets(name + _MODIFIERS[operator], value)
            case _:
                return meets(name, operator + value)

    return several()
