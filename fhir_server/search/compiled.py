"""The search parameters of one type as a tree over its JSON: one walk finds all values.

Properties that no parameter asks for are never looked at, paths that several parameters share
are walked once, and a value that several parameters index is encoded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fhir_server.search.expression import TermTuple
from fhir_server.search.kinds import KINDS
from fhir_server.search.kinds.asked import Encoder, Extraction
from fhir_server.search.kinds.reference import target_type
from fhir_server.search.kinds.token import code_in
from fhir_server.search.paths import First, IsSet, Resolves, Where, WithExtension
from fhir_server.search.registry import Parameter, Registry
from fhir_server.search.routes import Filter, Route, extension_values, routes
from fhir_server.search.terms import has_key


class Suffixed(dict[str, str]):
    """Suffix → the parameter key with it, made once."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, suffix: str) -> str:
        made = self[suffix] = self._key + suffix
        return made


@dataclass(frozen=True, slots=True)
class Output:
    """Whose terms a value gives. `present` is the term that says there is one;
    `keeps_bounds`: values with two bounds are kept as tuples."""

    key: str
    present: TermTuple
    keys: Suffixed = field(compare=False)
    keeps_bounds: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """What is looked for at one place of the JSON: in its properties, behind filters, in the
    value itself, and in composites of which it is the element."""

    children: dict[str, "Node"] = field(default_factory=dict)
    filtered: dict[Filter, "Node"] = field(default_factory=dict)
    leaves: dict[Encoder, list[Output]] = field(default_factory=dict)
    composites: list["Composite"] = field(default_factory=list)

    def at(self, steps: tuple[str | Filter, ...]) -> "Node":
        """The node at the end of the steps, made when it is not there."""
        node = self
        for step in steps:
            if isinstance(step, str):
                node = node.children.setdefault(step, Node())
            else:
                node = node.filtered.setdefault(step, Node())
        return node


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite at its element: per component, what is looked for in the element and what
    in the whole resource. Without any of the `needed` properties the last component, and so
    the composite, has no value."""

    output: Output
    components: tuple[tuple[Node, Node], ...]
    needed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the definitions say about a parameter's values on one type: their datatypes, and
    if there may be several."""

    datatypes: frozenset[str] = frozenset()
    is_repeating: bool = False


@dataclass(frozen=True, slots=True)
class CompiledType:
    """All of one type: the tree, booleans about properties of the resource, the shapes by
    code, and for each key that gives sort values the parameter that they belong to."""

    root: Node
    booleans: tuple[tuple[tuple[str, ...], Output], ...]
    shapes: Mapping[str, Shape]
    sorts: Mapping[str, str]


@lru_cache(maxsize=512)
def compiled(registry: Registry, type_: str) -> CompiledType:
    """The compiled parameters of a resource type; made at the first use."""
    root = Node()
    booleans: list[tuple[tuple[str, ...], Output]] = []
    shapes: dict[str, Shape] = {}
    sorts: dict[str, str] = {}
    for code, parameter in registry.parameters(type_).items():
        if not parameter.is_searchable:
            continue
        if parameter.kind == "composite":
            shapes[code] = _add_composite(root, parameter)
            continue
        found = encodable(parameter, parameter.expression or "", type_)
        shapes[code] = shape = _shape(found)
        output = _output(parameter, shape.is_repeating)
        for route in found:
            if isinstance(route.steps[-1], IsSet):
                booleans.append((tuple(str(step) for step in route.steps[:-1]), output))
            else:
                _add_leaf(root, parameter, route, output)
        if parameter.is_sortable:
            sorts.update((parameter.key + suffix, parameter.key) for suffix in ("", "<", ">"))
    return CompiledType(root, tuple(booleans), shapes, sorts)


def encodable(parameter: Parameter, expression: str, start: str) -> list[Route]:
    """The routes of an expression that end in a datatype which the parameter's kind indexes;
    an extension stands for its value."""
    encoders = KINDS[parameter.kind].encoders
    found: list[Route] = []
    for route in routes(start, expression, parameter.type):
        ends = extension_values(route) if route.datatype == "Extension" else [route]
        found.extend(end for end in ends if end.datatype in encoders)
    return found


def _shape(found: list[Route]) -> Shape:
    places = {route.elements for route in found}
    return Shape(
        datatypes=frozenset(route.datatype for route in found),
        is_repeating=len(places) > 1 or not all(route.is_single for route in found),
    )


def _output(parameter: Parameter, is_repeating: bool = False) -> Output:
    keeps_bounds = parameter.kind in ("number", "quantity") or (
        parameter.kind == "date" and is_repeating
    )
    present = (has_key(parameter.type), parameter.code)
    return Output(parameter.key, present, Suffixed(parameter.key), keeps_bounds)


def _encoder(parameter: Parameter, route: Route) -> Encoder:
    if route.datatype == "code" and parameter.kind == "token":
        return code_in(route.value_set)
    return KINDS[parameter.kind].encoders[route.datatype]


def _add_leaf(node: Node, parameter: Parameter, route: Route, output: Output) -> None:
    steps = tuple(step for step in route.steps if not isinstance(step, IsSet))
    outputs = node.at(steps).leaves.setdefault(_encoder(parameter, route), [])
    if output not in outputs:
        outputs.append(output)


def _add_composite(root: Node, parameter: Parameter) -> Shape:
    elements = routes(parameter.type, parameter.expression or "", parameter.type)
    for element in elements:
        components = []
        for component in parameter.components:
            here, from_root = Node(), Node()
            output = _output(component.parameter)
            for route in encodable(component.parameter, component.expression, element.datatype):
                start = from_root if route.is_from_root else here
                _add_leaf(start, component.parameter, route, output)
            components.append((here, from_root))
        steps = tuple(step for step in element.steps if not isinstance(step, IsSet))
        needed = frozenset(components[-1][0].children)
        composite = Composite(_output(parameter), tuple(components), needed)
        root.at(steps).composites.append(composite)
    return Shape(is_repeating=True)


def passes(step: Filter, value: Any, extraction: Extraction) -> bool:
    """True when a value is not filtered out."""
    match step:
        case Where(name, wanted):
            return isinstance(value, dict) and value.get(name) == wanted
        case Resolves(type_):
            return target_type(value, extraction) == type_
        case WithExtension(url):
            return any(each.get("url") == url for each in value.get("extension", ()))
        case First():
            # The one official use is Bundle.entry[0].
            entries = extraction.resource.get("entry")
            return isinstance(entries, list) and entries[0] is value
        case _:
            raise TypeError(f"not a filter: {step!r}")
