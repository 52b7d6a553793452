"""FHIRPath functions that take the place of the engine's own, or that it lacks.

Each is called with the engine's context, the input collection and its arguments. Values are the
engine's nodes: a node knows its data, its type and its place, and beside a primitive its `_name`
with the extensions.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from fhirpathpy.engine import util
from fhirpathpy.engine.nodes import ResourceNode, TypeInfo

from fhir_server.fhir.fhirpath import FhirPathError
from fhir_server.fhir.reference import parse_reference

Context = dict[str, Any]
Collection = list[Any]


def member(context: Context, parents: Collection, tree: dict[str, Any]) -> Collection:
    """The children of that name, or at a resource the resource itself, by its type.

    Mended: a supertype (`Resource.meta`) names a resource as well, and a primitive is one node,
    its extensions beside it."""
    key = tree["children"][0]["text"].strip("`")
    return [
        child
        for parent in parents
        for child in _members(context["model"], ResourceNode.create_node(parent), key)
    ]


def _members(model: Context, node: ResourceNode, key: str) -> Iterator[ResourceNode]:
    content = node.data if isinstance(node.data, Mapping) else node._data
    if not isinstance(content, Mapping):
        return
    if key[0].isupper() and TypeInfo.is_type(content.get("resourceType"), key):
        yield node
        return
    path, names = _typed(model, f"{node.path or '_'}.{key}", key)
    for name, type_ in names:
        for value, beside, place in _values(content, name):
            here = f"{node.propName or node.path}.{key}{place}"
            yield ResourceNode(value, type_ or path, beside, here)


def _typed(model: Context, path: str, key: str) -> tuple[str, list[tuple[str, str | None]]]:
    """The path's type, and the JSON names under which the element may stand, with their types."""
    path = model["pathsDefinedElsewhere"].get(path, path)
    types = model["choiceTypePaths"].get(path)
    if key == "extension":
        return "Extension", [(key, None)]
    if types:
        named = [(key + each, model["path2Type"].get(path + each, path + each)) for each in types]
        return path, named
    return model["path2Type"].get(path, path), [(key, None)]


def _values(content: Mapping[str, Any], name: str) -> Iterator[tuple[Any, Any, str]]:
    """Each value of a JSON property, what stands beside it, and its index as written."""
    value, beside = content.get(name), content.get("_" + name)
    if isinstance(value, list) or isinstance(beside, list):
        pairs = zip_longest(util.arraify(value), util.arraify(beside))
        for index, (each, other) in enumerate(pairs):
            if each is not None or other is not None:
                yield each, other, f"[{index}]"
    elif value is not None or beside is not None:
        yield value, beside, ""


def as_type(_: Context, found: Collection, wanted: TypeInfo) -> Collection:
    """`as` keeps the values of the type. The engine takes a single value, but R4's own
    expressions use it on lists (`Observation.component.value as Quantity`)."""
    return [each for each in found if _is(each, wanted)]


def _is(value: Any, wanted: TypeInfo) -> bool:
    known = TypeInfo.from_value(value)
    return known is not None and bool(known.is_(wanted))


def distinct(_: Context, found: Collection) -> Collection:
    """Each value once. The engine's own forgets the types of what it keeps."""
    kept: dict[str, Any] = {}
    for each in found:
        kept.setdefault(_identity(each), each)
    return list(kept.values())


def union(context: Context, left: Collection, right: Collection) -> Collection:
    """`|`: both, each value once."""
    return distinct(context, [*left, *right])


def _identity(value: Any) -> str:
    data = util.get_data(value)
    beside = value._data if isinstance(value, ResourceNode) else None
    if isinstance(data, Decimal) and data == data.to_integral_value():
        data = int(data)
    return json.dumps([data, beside], sort_keys=True, default=str)


def extensions(_: Context, found: Collection, url: str) -> Collection:
    """`extension(url)`: all of them, also those of a primitive. The engine gives the first."""
    return [
        ResourceNode(extension, "Extension", None, f"{place}.extension[{index}]")
        for each in found
        for extension, index, place in _extensions(each)
        if extension.get("url") == url
    ]


def _extensions(value: Any) -> Iterator[tuple[Mapping[str, Any], int, str | None]]:
    node = ResourceNode.create_node(value)
    for content in (node.data, node._data):
        if isinstance(content, Mapping):
            for index, each in enumerate(content.get("extension", ())):
                yield each, index, node.propName


def has_extension(context: Context, found: Collection, url: str) -> bool:
    """R4's own search parameters use it; the engine lacks it."""
    return bool(extensions(context, found, url))


def has_value(_: Context, found: Collection) -> bool:
    """R4 "Additional functions": one primitive with a value."""
    return len(found) == 1 and not isinstance(util.get_data(found[0]), Mapping | None)


def resolve(context: Context, found: Collection) -> Collection:
    """What the references point to, without fetching: a contained resource itself; of any other
    its type and id, as the text says, so that `resolve() is Patient` has an answer."""
    targets = (_target(context, each) for each in found)
    return [ResourceNode(each, each["resourceType"]) for each in targets if each is not None]


def _target(context: Context, value: Any) -> Mapping[str, Any] | None:
    data = util.get_data(value)
    text = data.get("reference") if isinstance(data, Mapping) else data
    stated = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(text, str):
        return {"resourceType": stated} if isinstance(stated, str) else None
    if text.startswith("#"):
        return _contained(context["vars"]["rootResource"], text[1:])
    try:
        parsed = parse_reference(text)
    except ValueError:
        return None
    type_ = parsed.type or stated
    return {"resourceType": type_, "id": parsed.id} if type_ else None


def _contained(root: Any, id_: str) -> Mapping[str, Any] | None:
    if not isinstance(root, Mapping):
        return None
    if not id_:
        return root
    return next((each for each in root.get("contained", ()) if each.get("id") == id_), None)


def is_distinct(context: Context, found: Collection) -> bool:
    """Whether no value stands twice."""
    return len(distinct(context, found)) == len(found)


def number(_: Context, __: Collection, tree: dict[str, Any]) -> Collection:
    """A number as written: `1.0` is a decimal. The engine makes an integer of it."""
    text = tree["text"]
    return [Decimal(text) if "." in text else int(text)]


def trace(_: Context, found: Collection, *__: Any) -> Collection:
    """The input. The engine's own prints it, and resources belong in no log."""
    return found


def to_string(_: Context, found: Collection) -> Collection:
    """`true`, not Python's `True`."""
    if len(found) != 1:
        return []
    data = util.get_data(found[0])
    if isinstance(data, Mapping):
        return []
    return [str(data).lower() if isinstance(data, bool) else str(data)]


def _moment(context: Context) -> datetime:
    if context["now"] is None:
        raise FhirPathError("now(), today() and timeOfDay() need the caller's clock")
    moment: datetime = context["now"]
    return moment


def now(context: Context, _: Collection) -> str:
    """The caller's clock, not the machine's."""
    return _moment(context).isoformat(timespec="milliseconds")


def today(context: Context, _: Collection) -> str:
    """See `now`."""
    return _moment(context).date().isoformat()


def time_of_day(context: Context, _: Collection) -> str:
    """See `now`."""
    return _moment(context).time().isoformat(timespec="milliseconds")


FUNCTIONS: Mapping[str, Mapping[str, Any]] = {
    "as": {"fn": as_type, "arity": {1: ["TypeSpecifier"]}},
    "asOp": {"fn": as_type, "arity": {2: ["Any", "TypeSpecifier"]}},
    "ofType": {"fn": as_type, "arity": {1: ["TypeSpecifier"]}},
    "distinct": {"fn": distinct},
    "isDistinct": {"fn": is_distinct},
    "|": {"fn": union, "arity": {2: ["Any", "Any"]}},
    "union": {"fn": union, "arity": {1: ["AnyAtRoot"]}},
    "extension": {"fn": extensions, "arity": {1: ["String"]}},
    "hasExtension": {"fn": has_extension, "arity": {1: ["String"]}},
    "hasValue": {"fn": has_value},
    "resolve": {"fn": resolve},
    "trace": {"fn": trace, "arity": {1: ["String"], 2: ["String", "Expr"]}},
    "toString": {"fn": to_string},
    "now": {"fn": now},
    "today": {"fn": today},
    "timeOfDay": {"fn": time_of_day},
}
"""Name → how the engine calls it; "arity" says how its arguments are evaluated."""

EVALUATORS: Mapping[str, Any] = {"MemberInvocation": member, "NumberLiteral": number}
"""Kind of syntax node → what evaluates it."""
