"""What an invariant is, and the four sorts that say which elements go together.

Most invariants say which elements need, exclude or replace one another. Those also become JSON
Schema, so that the fast road need not call back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.validation.shape import shape_of

Element = Mapping[str, Any]


@dataclass(frozen=True)
class Invariant:
    """`holds` judges a well-formed element of `type`; `schema`, if any, accepts no more."""

    key: str
    type: str
    text: str
    holds: Callable[[Element], bool]
    schema: Mapping[str, Any] | None = None


def _has(type_name: str, name: str) -> Callable[[Element], bool]:
    keys = shape_of(type_name).keys_of(name)
    return lambda element: any(key in element for key in keys)


def _present(type_name: str, name: str) -> dict[str, Any]:
    plain = [key for key in shape_of(type_name).keys_of(name) if not key.startswith("_")]
    return {"anyOf": [{"required": [key]} for key in plain]}


def _absent(type_name: str, name: str) -> dict[str, Any]:
    keys = shape_of(type_name).keys_of(name)
    return {"not": {"anyOf": [{"required": [key]} for key in keys]}}


def needs(key: str, type_name: str, name: str, *others: str) -> Invariant:
    """When `name` is there, one of `others` is too."""
    has, has_other = _has(type_name, name), [_has(type_name, each) for each in others]
    present = {"anyOf": [part for each in others for part in _present(type_name, each)["anyOf"]]}
    return Invariant(
        key,
        type_name,
        f"{name} needs {' or '.join(others)} beside it",
        lambda element: not has(element) or any(each(element) for each in has_other),
        {"dependencies": dict.fromkeys(shape_of(type_name).keys_of(name), present)},
    )


def not_both(key: str, type_name: str, first: str, second: str) -> Invariant:
    """`first` and `second` exclude each other."""
    has_first, has_second = _has(type_name, first), _has(type_name, second)
    absent = _absent(type_name, second)
    return Invariant(
        key,
        type_name,
        f"{first} and {second} must not both be given",
        lambda element: not (has_first(element) and has_second(element)),
        {"dependencies": dict.fromkeys(shape_of(type_name).keys_of(first), absent)},
    )


def any_of(key: str, type_name: str, *names: str) -> Invariant:
    """At least one of `names` is there."""
    has = [_has(type_name, each) for each in names]
    return Invariant(
        key,
        type_name,
        f"at least one of {', '.join(names)} is needed",
        lambda element: any(each(element) for each in has),
        {"anyOf": [part for each in names for part in _present(type_name, each)["anyOf"]]},
    )


def one_of(key: str, type_name: str, *names: str) -> Invariant:
    """Exactly one of `names` is there."""
    has = [_has(type_name, each) for each in names]
    return Invariant(
        key,
        type_name,
        f"exactly one of {', '.join(names)} is needed",
        lambda element: sum(each(element) for each in has) == 1,
    )
