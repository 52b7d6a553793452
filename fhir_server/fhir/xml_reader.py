"""FHIR XML as a resource (R4 XML Representation): strict, and every refusal says where.

Nothing is guessed: an element or attribute that R4 does not have, a wrong order, text between
elements, a document type, or another encoding than UTF-8 is refused with its line and place.
Comments and processing instructions are dropped; a narrative stays as it is.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from lxml import etree

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.outcome import FhirError, unparsable
from fhir_server.fhir.xml_shape import FHIR, XHTML, Child, Kind, XmlShape, xml_shape

MAX_DEPTH = 100

_NAMESPACE = f"{{{FHIR}}}"
_CUT = len(_NAMESPACE)
_DIV = f"{{{XHTML}}}div"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_ENCODING = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
_UNICODE = frozenset({b"utf-8", b"utf8", b"us-ascii"})
_TEXT = etree.XPath("(//f:*/text()[normalize-space()])[1]", namespaces={"f": FHIR})
# Declarations are refused before; without any, a large tree is only as large as what was sent.
_parser = etree.XMLParser(
    encoding="utf-8",
    huge_tree=True,
    load_dtd=False,
    no_network=True,
    resolve_entities=False,
    strip_cdata=False,
)
_NO_NARRATIVE = f"a narrative is a <div> of the namespace {XHTML}"
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)


class _Refused(Exception):
    """What is wrong with the element."""

    def __init__(self, element: etree._Element, text: str) -> None:
        super().__init__(text)
        self.element = element


def read(body: bytes) -> dict[str, Any]:
    """The resource in `body`, ready for `codec.encode`: decimals are raw JSON, digit for digit.
    Raises FhirError 400 with the line and the place of what is wrong."""
    root = root_of(body)
    try:
        stray = _TEXT(root)
        if stray:
            raise _stray(stray[0])
        return _resource(root, 1)
    except _Refused as refusal:
        raise _located(refusal) from None


def _stray(text: Any) -> _Refused:
    parent = text.getparent()
    if parent.tag == f"{_NAMESPACE}div":
        return _Refused(parent, _NO_NARRATIVE)
    return _Refused(parent, f"text between elements: {str(text)[:40]!r}")


def root_of(body: bytes) -> etree._Element:
    """The parsed document, before anything of FHIR is asked of it; FhirError 400 when it is not
    well-formed UTF-8 or declares a document type."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in body[:4]:
        raise unparsable("The body is not UTF-8, which FHIR's XML is written in")
    declared = _ENCODING.match(body.removeprefix(b"\xef\xbb\xbf"))
    if declared and declared[1].lower() not in _UNICODE:
        raise unparsable(f"The body declares {declared[1][:20]!r}; FHIR's XML is UTF-8")
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise unparsable("A document type or entity declaration is not allowed in FHIR's XML")
    if not body.strip():
        raise unparsable("The body is empty; a resource was expected")
    try:
        return etree.fromstring(body, _parser)
    except (etree.XMLSyntaxError, ValueError) as failure:
        raise unparsable(f"The body is not well-formed XML: {failure}") from None


def _resource(element: etree._Element, depth: int) -> dict[str, Any]:
    type = _name(element)
    if type not in resource_types():
        raise _Refused(element, f"<{type}> is no resource type of R4")
    for name in element.keys():  # noqa: SIM118 - an element's own keys, not its children
        if name != _SCHEMA_LOCATION or element.getparent() is not None:
            raise _Refused(element, f"the attribute {_plain(name)!r} is not allowed on a resource")
    found: dict[str, Any] = {"resourceType": type}
    _children(element, xml_shape(type), found, depth)
    return found


def _children(element: etree._Element, shape: XmlShape, found: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Refused(element, f"nested more than {MAX_DEPTH} levels deep")
    children = shape.children
    last = -1
    for each in element.iterchildren(etree.Element):
        tag = each.tag
        child = children.get(tag[_CUT:]) if tag[:_CUT] == _NAMESPACE else None
        if child is None:
            child = _unusual(each, element, shape)
        if child.order < last or (child.order == last and not child.is_list):
            raise _misplaced(each, child, last)
        last = child.order
        _add(found, child, each, depth)


def _unusual(each: etree._Element, parent: etree._Element, shape: XmlShape) -> Child:
    if each.tag == _DIV and "div" in shape.children:
        return shape.children["div"]
    name = _name(each)
    raise _Refused(each, f"<{name}> is not an element of {_name(parent)}")


def _misplaced(each: etree._Element, child: Child, last: int) -> _Refused:
    if child.order == last:
        return _Refused(each, f"<{child.name}>: {child.element} is given more than once")
    return _Refused(each, f"<{child.name}> comes too late: elements are in the order of R4")


def _add(found: dict[str, Any], child: Child, element: etree._Element, depth: int) -> None:
    kind = child.kind
    if kind == "complex":
        value = _complex(element, xml_shape(child.type), depth + 1)
        if child.is_list:
            found.setdefault(child.name, []).append(value)
        else:
            found[child.name] = value
    elif kind == "resource":
        inner = _inner(element, depth + 1)
        if child.is_list:
            found.setdefault(child.name, []).append(inner)
        else:
            found[child.name] = inner
    elif kind == "xhtml":
        found[child.name] = _narrative(element)
    else:
        _primitive(found, child, element, depth + 1)


def _complex(element: etree._Element, shape: XmlShape, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in element.items():
        if name not in shape.attributes:
            raise _Refused(element, f"<{_name(element)}> has no attribute {_plain(name)!r}")
        found[name] = value
    _children(element, shape, found, depth)
    if not found:
        raise _Refused(element, f"<{_name(element)}> is empty")
    return found


def _inner(element: etree._Element, depth: int) -> dict[str, Any]:
    inside = list(element.iterchildren(etree.Element))
    if len(inside) != 1 or element.items():
        raise _Refused(element, f"<{_name(element)}> holds one resource and has no attributes")
    return _resource(inside[0], depth)


def _primitive(found: dict[str, Any], child: Child, element: etree._Element, depth: int) -> None:
    attributes = element.items()
    name = child.name
    if len(attributes) == 1 and attributes[0][0] == "value" and not len(element):
        value = _value(element, child.kind, attributes[0][1])
        sibling = None
    else:
        value, sibling = _extended(element, child, depth)
    if not child.is_list:
        if value is not None:
            found[name] = value
        if sibling is not None:
            found["_" + name] = sibling
        return
    values, siblings = found.get(name), found.get("_" + name)
    count = len(values or siblings or ())
    if value is not None or values is not None:
        found.setdefault(name, [None] * count).append(value)
    if sibling is not None or siblings is not None:
        found.setdefault("_" + name, [None] * count).append(sibling)


def _extended(
    element: etree._Element, child: Child, depth: int
) -> tuple[Any, dict[str, Any] | None]:
    sibling: dict[str, Any] = {}
    value = None
    for name, text in element.items():
        if name == "value":
            value = _value(element, child.kind, text)
        elif name == "id":
            sibling["id"] = text
        else:
            raise _Refused(element, f"<{child.name}> has no attribute {_plain(name)!r}")
    _children(element, xml_shape("Element"), sibling, depth)
    if value is None and not sibling:
        raise _Refused(element, f"<{child.name}> has neither a value nor an extension")
    return value, sibling or None


def _value(element: etree._Element, kind: Kind, text: str) -> Any:
    if not text:
        raise _Refused(element, f"<{_name(element)}> has an empty value")
    if kind == "text":
        return text
    value = _READERS[kind](text)
    if value is None:
        raise _Refused(element, f"<{_name(element)}>: {text[:40]!r} is no {kind}")
    return value


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None


def _decimal(text: str) -> msgspec.Raw | None:
    return msgspec.Raw(text.encode()) if _DECIMAL.fullmatch(text) else None


_READERS: Mapping[Kind, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "decimal": _decimal,
}


def _narrative(element: etree._Element) -> str:
    if element.tag != _DIV:
        raise _Refused(element, _NO_NARRATIVE)
    if len(element.nsmap) > 1:
        element = copy.deepcopy(element)  # leaves declarations of the outside behind
    text: str = etree.tostring(element, encoding="unicode", with_tail=False)
    return text


def _name(element: etree._Element) -> str:
    tag = element.tag
    if not isinstance(tag, str) or not tag.startswith(_NAMESPACE):
        raise _Refused(element, f"<{_plain(str(tag))}> is not in the namespace {FHIR}")
    return tag[_CUT:]


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _located(refusal: _Refused) -> FhirError:
    element = refusal.element
    steps = list(_steps(element))
    place = "".join(f"/{name}[{number}]" if number else f"/{name}" for name, number in steps)
    line = f"line {element.sourceline}: " if element.sourceline else ""
    return unparsable(f"{line}{refusal}, at {place}")


def _steps(element: etree._Element) -> Iterator[tuple[str, int]]:
    """The way from the root to the element: names, with a number among others of the name."""
    line = [element, *element.iterancestors()]
    for each in reversed(line):
        before = len(list(each.itersiblings(each.tag, preceding=True)))
        is_one_of_several = before or next(each.itersiblings(each.tag), None) is not None
        yield _plain(str(each.tag)), before + 1 if is_one_of_several else 0
