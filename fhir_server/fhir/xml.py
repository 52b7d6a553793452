"""FHIR XML in and out (R4 XML Representation). Inside the server a resource is always JSON; this
is the one place where XML becomes JSON and JSON becomes XML, by the tables of the definitions."""

from typing import Any

import msgspec
from lxml import etree

from fhir_server.fhir.xml_reader import read, root_of
from fhir_server.fhir.xml_shape import FHIR
from fhir_server.fhir.xml_writer import written

_encoder = msgspec.json.Encoder()
# A decimal as its text: an exponent or a trailing zero is written as it was.
_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=str)
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_INDENT = "  "


def json_of(body: bytes) -> bytes:
    """The JSON of the FHIR XML in `body`; FhirError 400, with line and place, for what is no
    FHIR XML. Whether the resource is valid is not judged here."""
    return _encoder.encode(read(body))


def root_name(body: bytes) -> str | None:
    """The name of the root element when it is one of FHIR's, else None; FhirError 400 for what
    is no XML that `json_of` would take."""
    tag = root_of(body).tag
    prefix = f"{{{FHIR}}}"
    return tag.removeprefix(prefix) if str(tag).startswith(prefix) else None


def xml_of(body: bytes) -> bytes:
    """The XML of the valid JSON resource in `body`, with every value as written. A character
    that XML can't hold becomes U+FFFD."""
    return _DECLARATION + written(_decoder.decode(body)).encode()


def pretty_xml(body: bytes) -> bytes:
    """The same XML, indented for people; values and narratives verbatim."""
    root = etree.fromstring(body, etree.XMLParser(huge_tree=True, resolve_entities=False))
    _indent(root, "\n")
    text: str = etree.tostring(root, encoding="unicode")
    return _DECLARATION + text.encode() + b"\n"


def _indent(element: etree._Element, before: str) -> None:
    """White space between the children of `element`, which itself begins after `before`."""
    if len(element) == 0 or not str(element.tag).startswith(f"{{{FHIR}}}"):
        return
    element.text = before + _INDENT
    for child in element:
        _indent(child, before + _INDENT)
        child.tail = before + _INDENT
    element[-1].tail = before
