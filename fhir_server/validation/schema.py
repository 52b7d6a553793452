"""The fast road: strict JSON Schemas (draft 4) made from the definitions, one for each type.

A schema accepts less than FHIR allows: whatever is rare (contained resources, `_` siblings of
arrays, references of unusual form or type) it leaves to the walker. So accepting must be right,
and rejecting only costs time. Draft 4 is used because there 1.0 is no integer.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import jsonschema_rs

from fhir_server.fhir.definitions import ElementDefinition, value_sets
from fhir_server.fhir.reference import ID
from fhir_server.validation import narrative
from fhir_server.validation.bindings import allowed_codes
from fhir_server.validation.invariants import INVARIANTS
from fhir_server.validation.primitives import PRIMITIVES
from fhir_server.validation.references import reference_pattern
from fhir_server.validation.shape import Property, Shape, shape_of

Schema = dict[str, Any]

# The types that extensions usually hold; each type more makes every schema longer to compile.
EXTENSION_TYPES = {
    *("Address", "Age", "Annotation", "Attachment", "CodeableConcept", "Coding", "ContactPoint"),
    *("Duration", "HumanName", "Identifier", "Money", "Period", "Quantity", "Range", "Ratio"),
    "Reference",
}


_NEVER: Schema = {"not": {}}
# An element that asks nothing more of its type; cast, as the facts of an element are required.
_NO_CONTEXT = cast(ElementDefinition, {})
_Found = list[tuple[str, str, ElementDefinition]]


class _Rules:
    """The keyword `rules`: the invariants of the named type that only Python can judge."""

    def __init__(self, parent: Schema, value: Any, path: list[str | int]) -> None:
        self._invariants = [each for each in INVARIANTS[value] if each.schema is None]

    def validate(self, instance: Any) -> None:
        for each in self._invariants:
            if not each.holds(instance):
                raise ValueError(each.key)


class _Xhtml:
    """The keyword `xhtml`: a narrative that is allowed and shows something."""

    def __init__(self, parent: Schema, value: Any, path: list[str | int]) -> None:
        pass

    def validate(self, instance: Any) -> None:
        if not narrative.examine(instance).is_faultless:
            raise ValueError("txt-1")


@cache
def accepts(type_name: str, *, with_contained: bool = False) -> jsonschema_rs.Draft4Validator:
    """The compiled schema of a resource type; compiled once, some milliseconds.

    `with_contained` is for resources that hold others, and for those they hold: it lets
    `#id` references and the contained resources pass unseen, for the caller to judge.
    """
    schema = schema_for(type_name)
    if with_contained:
        _allow_contained(schema["definitions"], type_name)
    return jsonschema_rs.Draft4Validator(
        schema,
        keywords={"rules": _Rules, "xhtml": _Xhtml},
        pattern_options=jsonschema_rs.RegexOptions(),
    )


def schema_for(type_name: str) -> Schema:
    """The JSON Schema of a resource type with every datatype that it reaches."""
    definitions: dict[str, Schema] = {}
    waiting = [(type_name, type_name, _NO_CONTEXT)]
    while waiting:
        name, target, context = waiting.pop()
        if name not in definitions:
            definitions[name], found = _type(target, context)
            waiting += found
    return {"$ref": f"#/definitions/{type_name}", "definitions": definitions}


def _type(name: str, context: ElementDefinition) -> tuple[Schema, _Found]:
    shape = shape_of(name)
    properties: dict[str, Schema] = {}
    found: _Found = []
    for key, entry in shape.properties.items():
        properties |= _property(key, entry, shape=shape, found=found)
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
    }
    required = [keys[0] for keys in shape.required.values() if len(keys) == 1]
    parts = [
        {"anyOf": [{"required": [key]} for key in keys]}
        for keys in shape.required.values()
        if len(keys) > 1
    ]
    if shape.is_resource:
        properties["resourceType"] = {"enum": [name]}
        required.append("resourceType")
    if required:
        schema["required"] = required
    parts += _choices(shape)
    return _special(schema, parts, shape=shape, context=context), found


def _property(key: str, entry: Property, *, shape: Shape, found: _Found) -> dict[str, Schema]:
    if key == "contained" or (shape.type == "Extension" and not _is_usual(entry)):
        return {}
    if entry.is_primitive:
        item = _primitive(entry)
        if entry.is_array:
            return {key: _array(item, entry)}
        if not _has_sibling(entry, shape):
            return {key: item}
        found.append(("Element", "Element", _NO_CONTEXT))
        return {key: item, "_" + key: {"$ref": "#/definitions/Element"}}
    item = _complex(entry, shape, found=found)
    return {key: _array(item, entry) if entry.is_array else item}


def _has_sibling(entry: Property, shape: Shape) -> bool:
    is_choice = entry.definition.get("choice", False)
    return not is_choice and entry.has_sibling and shape.type != "Extension"


def _is_usual(entry: Property) -> bool:
    return entry.name != "value" or entry.is_primitive or entry.type in EXTENSION_TYPES


def _primitive(entry: Property) -> Schema:
    codes = allowed_codes(entry.definition.get("values", ""))
    if codes is not None:
        return {"enum": sorted(codes)}
    schema = PRIMITIVES[entry.type].schema()
    if entry.type == "xhtml":
        schema["xhtml"] = True
    return schema


def _complex(entry: Property, shape: Shape, *, found: _Found) -> Schema:
    if entry.type == "Resource":
        # An entry's resource is judged by the caller, who asks `resources_inside` for it.
        return {"type": "object"} if shape.type == "Bundle.entry" else _NEVER
    context = entry.definition
    if entry.type == "Reference" and "targets" in context:
        name = "Reference:" + ",".join(context["targets"])
    elif entry.type == "CodeableConcept" and "values" in context:
        name = "CodeableConcept:" + context["values"].rpartition("/")[2]
    elif entry.type == "Quantity" and "profiles" in context:
        name = "SimpleQuantity"
    else:
        name, context = entry.type, _NO_CONTEXT
    return _ref(name, entry.type, context=context, found=found)


def _ref(name: str, target: str, *, context: ElementDefinition, found: _Found) -> Schema:
    found.append((name, target, context))
    return {"$ref": f"#/definitions/{name}"}


def _array(item: Schema, entry: Property) -> Schema:
    schema: Schema = {"type": "array", "items": item, "minItems": 1}
    if entry.definition["max"] != "*":
        schema["maxItems"] = int(entry.definition["max"])
    return schema


def _choices(shape: Shape) -> list[Schema]:
    """At most one type of each choice; an Extension counts its properties instead."""
    if shape.type == "Extension":
        return []
    return [
        {
            "dependencies": {
                key: {"not": {"anyOf": [{"required": [each]} for each in keys if each != key]}}
                for key in keys
            }
        }
        for keys in shape.choices.values()
        if len(keys) > 1
    ]


def _special(
    schema: Schema, parts: list[Schema], *, shape: Shape, context: ElementDefinition
) -> Schema:
    """What single types ask for beyond the shape, and the invariants."""
    properties = schema["properties"]
    if not shape.is_resource and "id" in properties:
        parts.append({"dependencies": {"id": {"minProperties": 2}}})
    match shape.type:
        case "Extension":
            # url and one thing more: a value or extensions, and only one of the values.
            properties.pop("id")
            schema |= {"minProperties": 2, "maxProperties": 2}
        case "Reference":
            pattern = reference_pattern(context.get("targets"))
            properties["reference"] = {"type": "string", "pattern": pattern}
            properties.pop("type")
        case "Quantity" if "profiles" in context:
            properties.pop("comparator")
        case "CodeableConcept" if "values" in context:
            parts.append(_bound_concept(context["values"]))
        case _:
            pass
    invariants = INVARIANTS.get(shape.type, ())
    parts += [dict(each.schema) for each in invariants if each.schema is not None]
    if parts:
        schema["allOf"] = parts
    if not shape.is_resource and any(each.schema is None for each in invariants):
        schema["rules"] = shape.type
    return schema


def _bound_concept(url: str) -> Schema:
    """Every coding from the value set, where it has one system; the walker asks for less."""
    systems = value_sets().get(url, {})
    if len(systems) != 1:
        return _NEVER if systems else {}
    [(system, codes)] = systems.items()
    item = {
        "properties": {"system": {"enum": [system]}, "code": {"enum": codes}},
        "required": ["system", "code"],
    }
    return {"properties": {"coding": {"items": item}}, "required": ["coding"]}


def _allow_contained(definitions: dict[str, Schema], type_name: str) -> None:
    for name, each in definitions.items():
        if name.partition(":")[0] == "Reference":
            reference = each["properties"]["reference"]
            reference["pattern"] += f"|^#{ID}$"
    definitions[type_name]["properties"]["contained"] = {
        "type": "array",
        "items": {"type": "object", "required": ["resourceType", "id"]},
        "minItems": 1,
    }


def resources_inside(resource: Mapping[str, Any]) -> list[Any]:
    """The resources inside one that its schema has accepted without looking at them."""
    if resource["resourceType"] == "Bundle":
        return [each["resource"] for each in resource.get("entry", ()) if "resource" in each]
    return []
