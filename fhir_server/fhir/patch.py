"""JSON Patch (RFC 6902) on a resource's JSON; numbers keep their digits.

`json_patch` reads a patch document, `JsonPatch.applied` gives what becomes of a resource. FhirError
400 for a document that is no patch, 422 for one that can't be applied to this resource.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhir_server.fhir.codec import MAX_DEPTH, Resource, parse_json
from fhir_server.fhir.outcome import FhirError, business_rule, invalid

MOST_COPIED = 100_000
"""Values that one patch may copy and move: each copy can double what is there."""

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_BAD_ESCAPE = re.compile(r"~(?![01])")
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}

Pointer = tuple[str, ...]


@dataclass(frozen=True)
class _Step:
    """One operation; `number` counts from 0, `origin` is `from`."""

    number: int
    op: str
    path: Pointer
    value: Any = None
    origin: Pointer = ()

    def failed(self, why: str) -> FhirError:
        return business_rule(f"operation {self.number} ({self.op} {_text(self.path)}): {why}")


@dataclass(frozen=True)
class JsonPatch:
    """A patch document that was read."""

    steps: tuple[_Step, ...]

    def applied(self, resource: Resource) -> Resource:
        """What the operations, each after the other, make of the resource, which itself stays
        as it is. FhirError 422 when one of them can't be done or a `test` fails."""
        document: Any = deepcopy(resource)
        copied = 0
        for step in self.steps:
            if step.op in ("copy", "move"):
                copied += _size(_at(step, document, step.origin))
                if copied > MOST_COPIED:
                    raise step.failed(f"more than {MOST_COPIED} values are copied or moved")
            if step.op != "test" and _depth(step, document) > MAX_DEPTH:
                raise step.failed(f"nested more than {MAX_DEPTH} levels deep")
            document = _OPERATIONS[step.op](step, document)
        if not isinstance(document, dict):
            raise business_rule("the patch leaves no resource")
        return document


def json_patch(body: bytes) -> JsonPatch:
    """The patch document in `body`; FhirError 400 when it is none."""
    document = parse_json(body)
    if not isinstance(document, list):
        raise invalid("a JSON Patch is a JSON array of operations")
    return JsonPatch(tuple(_step(number, each) for number, each in enumerate(document)))


def _step(number: int, given: Any) -> _Step:
    op = given.get("op") if isinstance(given, dict) else None
    if not isinstance(op, str) or op not in _NEEDS:
        raise invalid(f"operation {number} of the patch: op is one of {', '.join(_NEEDS)}")
    for name in ("path", *_NEEDS[op]):
        if name not in given:
            raise invalid(f"operation {number} of the patch ({op}) has no {name}")
    path = _pointer(number, given["path"])
    origin = _pointer(number, given["from"]) if "from" in _NEEDS[op] else ()
    if op == "move" and path[: len(origin)] == origin and path != origin:
        raise invalid(f"operation {number} of the patch moves a value into itself")
    return _Step(number, op, path, given.get("value"), origin)


def _pointer(number: int, text: Any) -> Pointer:
    """RFC 6901."""
    if not isinstance(text, str) or (text and text[0] != "/") or _BAD_ESCAPE.search(text):
        raise invalid(f"operation {number} of the patch: {text!r} is no JSON Pointer")
    return tuple(each.replace("~1", "/").replace("~0", "~") for each in text.split("/")[1:])


def _text(path: Pointer) -> str:
    return "".join("/" + each.replace("~", "~0").replace("/", "~1") for each in path)


def _at(step: _Step, document: Any, path: Pointer) -> Any:
    value = document
    for depth, name in enumerate(path):
        if isinstance(value, list):
            value = value[_index(step, name, len(value) - 1)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            raise step.failed(f"there is nothing at {_text(path[: depth + 1])}")
    return value


def _index(step: _Step, name: str, last: int) -> int:
    if _INDEX.fullmatch(name) is None:
        raise step.failed(f"{name!r} is no place in an array")
    if int(name) > last:
        raise step.failed(f"the array ends before {name}")
    return int(name)


def _add(step: _Step, document: Any, value: Any) -> Any:
    if not step.path:
        return value
    *above, name = step.path
    holder = _at(step, document, tuple(above))
    if isinstance(holder, list):
        at = len(holder) if name == "-" else _index(step, name, len(holder))
        holder.insert(at, value)
    elif isinstance(holder, dict):
        holder[name] = value
    else:
        raise step.failed("only an object or an array has members")
    return document


def _remove(step: _Step, document: Any, path: Pointer) -> Any:
    _at(step, document, path)
    if not path:
        return None
    *above, name = path
    holder = _at(step, document, tuple(above))
    del holder[int(name) if isinstance(holder, list) else name]
    return document


def _added(step: _Step, document: Any) -> Any:
    return _add(step, document, deepcopy(step.value))


def _removed(step: _Step, document: Any) -> Any:
    return _remove(step, document, step.path)


def _replaced(step: _Step, document: Any) -> Any:
    _at(step, document, step.path)
    if not step.path:
        return deepcopy(step.value)
    *above, name = step.path
    holder = _at(step, document, tuple(above))
    holder[int(name) if isinstance(holder, list) else name] = deepcopy(step.value)
    return document


def _moved(step: _Step, document: Any) -> Any:
    value = _at(step, document, step.origin)
    if step.origin == step.path:
        return document
    return _add(step, _remove(step, document, step.origin), value)


def _copied(step: _Step, document: Any) -> Any:
    return _add(step, document, deepcopy(_at(step, document, step.origin)))


def _tested(step: _Step, document: Any) -> Any:
    if not _is_equal(_at(step, document, step.path), step.value):
        raise step.failed("the value there is another")
    return document


_OPERATIONS: Mapping[str, Callable[[_Step, Any], Any]] = {
    "add": _added,
    "remove": _removed,
    "replace": _replaced,
    "move": _moved,
    "copy": _copied,
    "test": _tested,
}


def _is_equal(one: Any, other: Any) -> bool:
    """RFC 6902, 4.6: numbers are equal by value; a boolean is no number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_equal(one[each], other[each]) for each in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal):
        return one == other
    return type(one) is type(other) and bool(one == other)


def _depth(step: _Step, document: Any) -> int:
    """How deep the value that the operation puts somewhere reaches there."""
    is_moved = "from" in _NEEDS[step.op]
    value = _at(step, document, step.origin) if is_moved else step.value
    return len(step.path) + _levels(value)


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 0
    return 1 + max(map(_levels, value), default=0)


def _size(value: Any) -> int:
    """How many values it is made of."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1
