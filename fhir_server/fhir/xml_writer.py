"""A resource as FHIR XML (R4 XML Representation): elements in the order of their definitions,
primitive values as attributes exactly as they were written, narratives as they are."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from fhir_server.fhir.xml_shape import FHIR, Child, XmlShape, xml_shape

_NARRATIVE = re.compile(r"<div[\s>].*</div>", re.DOTALL)
# What would end an attribute, be folded by a parser, or is no character of XML at all.
_SPECIAL = re.compile('[&<>"\\x00-\\x1f\ufffe\uffff]')
_ESCAPES: dict[int, str] = {
    **dict.fromkeys((*range(32), 0xFFFE, 0xFFFF), "\ufffd"),
    **{ord(each): f"&#{ord(each)};" for each in "\t\n\r"},
    **{ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"},
}

Json = Mapping[str, Any]


def written(resource: Json) -> str:
    """The XML of a valid resource, without a declaration. Raises ValueError for what R4 does
    not know, which no valid resource has."""
    out: list[str] = []
    _resource(out, resource, f' xmlns="{FHIR}"')
    return "".join(out)


def _resource(out: list[str], resource: Json, declared: str = "") -> None:
    type = resource["resourceType"]
    out.append(f"<{type}{declared}>")
    _children(out, resource, xml_shape(type))
    out.append(f"</{type}>")


def _children(out: list[str], value: Json, shape: XmlShape) -> None:
    for child in _in_order(value, shape):
        name = child.name
        content = value.get(name)
        sibling = value.get("_" + name)
        if child.is_list:
            for each, other in _pairs(content, sibling):
                _element(out, child, each, other)
        else:
            _element(out, child, content, sibling)


def _in_order(value: Json, shape: XmlShape) -> list[Child]:
    children, attributes = shape.children, shape.attributes
    found: list[Child] = []
    for key in value:
        child = children.get(key)
        if child is None:
            if key in attributes or key == "resourceType":
                continue
            child = children.get(key[1:]) if key[:1] == "_" else None
            if child is None:
                raise ValueError(f"{key!r} is not known to R4 here")
            if child.name in value:
                continue
        found.append(child)
    found.sort(key=_order)
    return found


def _order(child: Child) -> int:
    return child.order


def _pairs(values: Any, siblings: Any) -> Iterator[tuple[Any, Any]]:
    """Each value of a list with its id and extensions; either may be missing."""
    values, siblings = values or (), siblings or ()
    for index in range(max(len(values), len(siblings))):
        yield (
            values[index] if index < len(values) else None,
            siblings[index] if index < len(siblings) else None,
        )


def _element(out: list[str], child: Child, value: Any, sibling: Any) -> None:
    name, kind = child.name, child.kind
    if kind == "complex":
        _complex(out, name, value, child.type)
    elif kind == "resource":
        out.append(f"<{name}>")
        _resource(out, value)
        out.append(f"</{name}>")
    elif kind == "xhtml":
        out.append(_narrative(value))
    elif sibling is None:
        out.append(f'<{name} value="{_text(value)}"/>')
    else:
        _complex(out, name, sibling, "Element", "" if value is None else f' value="{_text(value)}"')


def _complex(out: list[str], name: str, value: Json, type: str, attribute: str = "") -> None:
    shape = xml_shape(type)
    start = f"<{name}"
    for each in sorted(shape.attributes):
        if each in value:
            start += f' {each}="{_text(value[each])}"'
    at = len(out)
    out.append(f"{start}{attribute}>")
    _children(out, value, shape)
    if len(out) == at + 1:
        out[at] = f"{start}{attribute}/>"
    else:
        out.append(f"</{name}>")


def _text(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    text = value if isinstance(value, str) else str(value)
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def _narrative(text: str) -> str:
    """The <div> as it was written; without what may stand around a document's root. A parser
    would take a carriage return for a line feed, so it is written as a reference."""
    if _NARRATIVE.fullmatch(text) is None:
        root = etree.fromstring(text.encode())
        text = etree.tostring(root, encoding="unicode", with_tail=False)
    return text if "\r" not in text or "<![CDATA[" in text else text.replace("\r", "&#13;")
