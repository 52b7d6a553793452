"""`_summary` and `_elements`: a resource cut down to what was asked for (R4 Search, "Summary" and
"Elements"), as a pure function of bytes.

What is kept always: id, meta (with the tag SUBSETTED added, so that nobody takes the part for the
whole), the elements that R4 makes mandatory, and what may turn the meaning of the rest around
(implicitRules, modifierExtension). A contained resource stays as long as something that stays
refers to it. Values are not rewritten: decimals keep their digits.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import msgspec

from fhir_server.fhir.codec import Resource
from fhir_server.fhir.definitions import ElementDefinition, choice_key, structures
from fhir_server.fhir.outcome import bad_parameter, business_rule
from fhir_server.fhir.summary import summarized

Form = Literal["true", "text", "data", "elements"]
Pairs = Iterable[tuple[str, str]]

PARAMETERS = frozenset({"_summary", "_elements"})
SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
_FORMS: Mapping[str, Form] = {"true": "true", "text": "text", "data": "data"}
_ALWAYS = frozenset({"id", "meta", "implicitRules", "modifierExtension"})

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Decimals as they are written; the body is one that was accepted before.
_resource = msgspec.json.Decoder(dict[str, Any], float_hook=lambda text: msgspec.Raw(text.encode()))
_list = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()
_tag = msgspec.Raw(_encoder.encode(SUBSETTED))


@dataclass(frozen=True)
class Narrowing:
    """What part of each resource is asked for. `elements` are those of `_elements`: a plain name
    under the type "", one that was given as `Type.name` under its type. `unknown` are names that
    no type in question has; only a lenient caller gets this far with any."""

    form: Form
    elements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def named(self, type: str) -> frozenset[str]:
        """The elements that were asked for of resources of this type."""
        return self.elements.get("", frozenset()) | self.elements.get(type, frozenset())

    def __hash__(self) -> int:
        return hash((self.form, tuple(sorted(self.elements.items(), key=lambda each: each[0]))))


def narrowing_of(
    query: Pairs, types: Collection[str] = (), *, is_lenient: bool = False
) -> Narrowing | None:
    """What the query's `_summary` and `_elements` ask for; None for whole resources.

    `types` are the resource types that the answer may hold (empty: any). Raises FhirError 400
    for a value that makes no sense, for both at once, and, unless `is_lenient`, for the name of
    an element that none of the types has. `_summary=count` narrows no resource: None.
    """
    asked = [pair for pair in query if pair[0] in PARAMETERS]
    if not asked:
        return None
    summary = _summary([value for name, value in asked if name == "_summary"])
    lists = [value for name, value in asked if name == "_elements"]
    if not lists:
        return None if summary is None else Narrowing(summary)
    if summary is not None or any(name == "_summary" and value == "count" for name, value in asked):
        raise bad_parameter("_summary and _elements exclude each other")
    return _elements(",".join(lists), types, is_lenient=is_lenient)


def narrowing_of_read(query: Pairs, type: str | None = None) -> Narrowing | None:
    """The same for what is read, and not searched: a read, or a history, of one type or of any.
    There `_summary=count`, which R4 has for searches only, is refused with 400."""
    pairs = tuple(query)
    if ("_summary", "count") in pairs:
        raise bad_parameter("_summary=count is for searches only")
    return narrowing_of(pairs, () if type is None else (type,))


def narrowed(body: bytes, narrowing: Narrowing) -> bytes:
    """The JSON resource in `body`, which is valid, as far as `narrowing` asks for it."""
    if narrowing.form == "true":
        return _encoder.encode(_with_tag(summarized(_resource.decode(body))))
    members = _members.decode(body)
    type = msgspec.json.decode(members["resourceType"], type=str)
    kept = _kept(type, narrowing)
    found = {
        name: value
        for name, value in members.items()
        if (name.removeprefix("_") in kept) is not (narrowing.form == "data")
    }
    if "contained" in members and "contained" not in found:
        found |= _contained(members["contained"], found)
    return _tagged(found)


def applies_to(narrowing: Narrowing, mode: str) -> bool:
    """Whether an entry of this search mode (match, include, outcome) is narrowed."""
    return mode != "outcome" and not (mode == "include" and narrowing.form == "elements")


def is_subsetted(resource: Resource) -> bool:
    """Whether the resource says of itself that it is not whole."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(
        isinstance(tag, dict)
        and tag.get("code") == SUBSETTED["code"]
        and tag.get("system") == SUBSETTED["system"]
        for tag in tags
    )


def refuse_subsetted(resource: Resource) -> None:
    """422 for a resource that is to replace another and says that it is not whole."""
    if is_subsetted(resource):
        raise business_rule(
            "the resource is tagged SUBSETTED: a part of it would replace the whole",
            f"{resource['resourceType']}.meta.tag",
        )


def _summary(values: list[str]) -> Form | None:
    if len(values) > 1:
        raise bad_parameter("_summary is given more than once")
    value = values[0] if values else "false"
    if value in ("false", "count"):
        return None
    if value not in _FORMS:
        raise bad_parameter(f"_summary={value} is none of true, text, data, count and false")
    return _FORMS[value]


def _elements(text: str, types: Collection[str], *, is_lenient: bool) -> Narrowing:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise bad_parameter("_elements is a list of element names with commas between them")
    found: dict[str, set[str]] = {}
    unknown: list[str] = []
    for name in names:
        head, dot, rest = name.partition(".")
        type, element = (head, rest) if dot else ("", name)
        element = element.removesuffix("[x]")
        if _is_known(type, element, types):
            found.setdefault(type, set()).add(element)
        else:
            unknown.append(name)
    if unknown and not is_lenient:
        where = " or ".join(sorted(types)) if 0 < len(types) < 6 else "the types searched"
        raise bad_parameter(f"_elements: {', '.join(unknown)} is no element at the root of {where}")
    elements = {type: frozenset(each) for type, each in found.items()}
    return Narrowing("elements", elements, tuple(unknown))


def _is_known(type: str, element: str, types: Collection[str]) -> bool:
    if type and types and type not in types:
        return False
    candidates = [type] if type else types or _resources()
    return any(element in _names(each) for each in candidates)


@lru_cache(maxsize=1)
def _resources() -> tuple[str, ...]:
    return tuple(name for name, each in structures().items() if each["kind"] == "resource")


@lru_cache(maxsize=256)
def _names(type: str) -> Mapping[str, tuple[str, ...]]:
    """The JSON properties of each root element; a choice is known by its name, and each of its
    properties by its own."""
    definition = structures().get(type)
    if definition is None or definition["kind"] != "resource":
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for name, element in definition["elements"].items():
        properties = _properties(name, element)
        found[name] = properties
        found |= {each: (each,) for each in properties}
    return found


def _properties(name: str, element: ElementDefinition) -> tuple[str, ...]:
    if not element.get("choice"):
        return (name,)
    return tuple(choice_key(name, each) for each in element["types"])


@lru_cache(maxsize=1024)
def _kept(type: str, narrowing: Narrowing) -> frozenset[str]:
    """The properties that stay; for `data`, those that go."""
    if narrowing.form == "data":
        return frozenset({"text"})
    names = _names(type)
    mandatory = {
        each
        for name, element in structures()[type]["elements"].items()
        if element["min"]
        for each in names[name]
    }
    asked = {"text"} if narrowing.form == "text" else set[str]()
    for name in narrowing.named(type):
        asked.update(names.get(name, ()))
    return frozenset({"resourceType"} | _ALWAYS | mandatory | asked)


def _contained(contained: msgspec.Raw, found: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The contained resources that what stays refers to, or that those refer to."""
    waiting = [(_id(each), each) for each in _list.decode(contained)]
    texts = [bytes(each) for each in found.values()]
    if any(b"\\u" in text for text in (bytes(contained), *texts)):
        return {"contained": contained}  # an id may hide behind an escape
    kept: set[str] = set()
    while True:
        new = {
            id: bytes(each)
            for id, each in waiting
            if id not in kept and any(b'"#%s"' % id.encode() in text for text in texts)
        }
        if not new:
            break
        kept |= new.keys()
        texts = list(new.values())
    if not kept:
        return {}
    left = [each for id, each in waiting if id in kept]
    return {"contained": msgspec.Raw(_encoder.encode(left))}


def _id(resource: msgspec.Raw) -> str:
    found: str = msgspec.json.decode(_members.decode(resource).get("id", b'""'), type=str)
    return found


def _with_tag(resource: Resource) -> Resource:
    meta = dict(resource.get("meta", {}))
    if not is_subsetted(resource):
        meta["tag"] = [*meta.get("tag", ()), SUBSETTED]
    head = {name: resource[name] for name in ("resourceType", "id") if name in resource}
    return head | {"meta": meta} | {**resource, "meta": meta}


def _tagged(members: dict[str, msgspec.Raw]) -> bytes:
    meta = _members.decode(members.get("meta", b"{}"))
    tags = _list.decode(meta.get("tag", b"[]"))
    if not is_subsetted({"meta": {"tag": msgspec.json.decode(_encoder.encode(tags))}}):
        tags.append(_tag)
    meta["tag"] = msgspec.Raw(_encoder.encode(tags))
    head = {name: members[name] for name in ("resourceType", "id") if name in members}
    return _encoder.encode(head | {"meta": meta} | {**members, "meta": meta})
