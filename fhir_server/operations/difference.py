"""Where two JSON resources differ, as FHIRPath places; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.interactions.context import Resource

_MISSING = object()
_OWN = frozenset({"versionId", "lastUpdated"})
"""What the server sets in every version."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One element: its place, and its value before and after (None where there is none)."""

    path: str
    before: Any
    after: Any


def differences(before: Resource, after: Resource) -> Iterator[Difference]:
    """The innermost elements that differ, in the order of the first resource; what the server
    sets itself is left out."""
    yield from _different(_told(before), _told(after), str(after.get("resourceType")))


def _told(resource: Resource) -> Resource:
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _OWN}
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return {**rest, "meta": meta} if meta else rest


def _different(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            inner = before.get(name, _MISSING), after.get(name, _MISSING)
            yield from _different(*inner, f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _different(_at(before, index), _at(after, index), f"{path}[{index}]")
    elif before is _MISSING or after is _MISSING or _text(before) != _text(after):
        yield Difference(path, *(None if each is _MISSING else each for each in (before, after)))


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _MISSING


def _text(value: Any) -> tuple[str, str]:
    """A value as it is written: 1.0 is not 1.00, and true is not 1."""
    return type(value).__name__, str(value)
