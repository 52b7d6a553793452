"""Where in the JSON of a type the values of a search expression lie.

A step of an expression names an element; the definitions of R4 say which JSON properties it may
stand in (`Observation.value` in `valueQuantity`, `valueString` …), of which datatypes, how often.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fhir_server.fhir.definitions import ElementDefinition, choice_key, structures
from fhir_server.search.paths import (
    Arm,
    Child,
    First,
    IsSet,
    OfType,
    Resolves,
    Step,
    Where,
    WithExtension,
    arms,
)

Filter = Where | Resolves | WithExtension | First
JsonStep = str | Filter | IsSet


@dataclass(frozen=True, slots=True)
class Route:
    """One way to values: properties and filters from the start, and what stands at the end.

    `value_set` is the required binding of a code; `elements` the path in element names, equal
    for the choices of one element; `is_single` when a resource has at most one value there;
    `targets` the types that a reference there may name (None: any); `is_from_root` when the
    route starts at the resource and not at the element of a composite.
    """

    datatype: str
    steps: tuple[JsonStep, ...] = ()
    value_set: str | None = None
    elements: tuple[str, ...] = ()
    is_single: bool = True
    targets: frozenset[str] | None = None
    is_from_root: bool = False


def routes(start: str, expression: str, root: str) -> list[Route]:
    """All routes of an expression from a value of type `start` inside a resource of type
    `root`; arms that begin at another resource type lead nowhere."""
    return [route for arm in arms(expression) for route in _of_arm(start, arm, root)]


def supertypes(type_: str) -> list[str]:
    """The type itself, then what it is derived from."""
    found: list[str] = []
    name: str | None = type_
    while name is not None:
        found.append(name)
        name = structures()[name].get("base")
    return found


def extension_values(route: Route) -> list[Route]:
    """The routes to the value of an extension."""
    return _child(route, "value")


def _of_arm(start: str, arm: Arm, root: str) -> list[Route]:
    first = arm[0]
    assert isinstance(first, Child)
    if first.name == "%resource":
        return _follow([Route(root, is_from_root=True)], arm[1:])
    if first.name in structures() and structures()[first.name]["kind"] == "resource":
        return _follow([Route(start)], arm[1:]) if first.name in supertypes(start) else []
    return _follow([Route(start)], arm)


def _follow(found: list[Route], steps: Iterable[Step]) -> list[Route]:
    for step in steps:
        match step:
            case Child(name):
                found = [child for route in found for child in _child(route, name)]
            case OfType(type_):
                # One official expression writes DateTime.
                wanted = type_.lower()
                found = [route for route in found if route.datatype.lower() == wanted]
            case Resolves(type_):
                found = [
                    replace(route, steps=(*route.steps, step), targets=frozenset({type_}))
                    for route in found
                ]
            case Where() | WithExtension() | First():
                found = [replace(route, steps=(*route.steps, step)) for route in found]
            case IsSet():
                steps_of_all = tuple(key for route in found for key in route.steps)
                found = [Route("boolean", (*steps_of_all, step))] if found else []
            case _:
                raise TypeError(f"not a step: {step!r}")
    return found


def _child(route: Route, name: str) -> list[Route]:
    definition = structures().get(route.datatype)
    element = None if definition is None else definition["elements"].get(name)
    if element is None:
        return []
    return [
        replace(
            route,
            datatype=type_,
            steps=(*route.steps, choice_key(name, type_) if element.get("choice") else name),
            value_set=element.get("values"),
            elements=(*route.elements, name),
            is_single=route.is_single and element["max"] == "1",
            targets=_targets(element),
        )
        for type_ in element["types"]
    ]


def _targets(element: ElementDefinition) -> frozenset[str] | None:
    named = element.get("targets")
    return None if named is None else frozenset(named)
