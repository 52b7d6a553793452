"""XHTML of a Narrative (R4 Narrative, "XHTML"): formatting only, nothing that runs or loads.

The text is parsed as XML without entities, DTD or network, and tags, attributes and links are
held against what the specification lists.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

XHTML = "{http://www.w3.org/1999/xhtml}"
_TAGS = (
    "a abbr acronym address b bdo big blockquote br caption center cite code col colgroup dd del "
    "dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li map area menu ol p pre q samp small "
    "span strike strong sub sup table tbody td tfoot th thead tr tt u ul var dir font s"
)
TAGS = frozenset(XHTML + tag for tag in _TAGS.split())
_ATTRIBUTES = (
    "abbr accept accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing "
    "cellvalign char charoff charset cite class clear color colspan compact coords dir face "
    "frame headers height href hreflang hspace id lang longdesc name noshade nowrap rel rev "
    "rowspan rules scope shape size span src start style summary tabindex title type usemap "
    "valign value vspace width"
)
ATTRIBUTES = frozenset(_ATTRIBUTES.split()) | {"{http://www.w3.org/XML/1998/namespace}lang"}
_LINKS = frozenset(("href", "src", "cite", "longdesc", "usemap"))
_SAFE_LINK = re.compile(
    r"\s*(?:https?:|mailto:|tel:|urn:|cid:|data:\s*image/(?:png|gif|jpe?g|webp);base64,"
    r"|[^:]*$|[^:/?#]*[/?#])",
    re.IGNORECASE,
)
# A style may draw an inlined or a neighbouring image, but must not fetch from elsewhere.
_UNSAFE_STYLE = re.compile(
    r"\\|expression\s*\(|javascript:|@import|behavior\s*:|-moz-binding"
    r"|url\s*\(\s*[\"']?\s*(?!data:\s*image/(?:png|gif|jpe?g|webp);|[A-Za-z0-9_][^:)/]*[\"']?\s*\))",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9A-Fa-f]+);)")

_parser = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
)


@dataclass(frozen=True)
class Examination:
    """A sentence for each thing that a narrative may not hold, and whether it shows nothing.
    (Official examples have empty ones, so that is no error.)"""

    problems: tuple[str, ...]
    is_empty: bool = False

    @property
    def is_faultless(self) -> bool:
        return not self.problems and not self.is_empty


def examine(text: str) -> Examination:
    """Judges the text of Narrative.div."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return Examination(("a document type or entity declaration is not allowed",))
    entity = _ENTITY.search(text)
    if entity is not None:
        return Examination((f"{text[entity.start() :][:10]!r} begins no XML entity",))
    try:
        root = etree.fromstring(text.encode(), _parser)
    except (etree.XMLSyntaxError, ValueError) as failure:
        return Examination((f"the narrative is not well-formed XHTML: {failure}",))
    if root.tag != XHTML + "div":
        text = f"a narrative is one <div> of {XHTML[1:-1]}, not <{_plain(root.tag)}>"
        return Examination((text,))
    return Examination(tuple(_element_problems(root)), not _has_content(root))


def _element_problems(root: etree._Element) -> Iterator[str]:
    for element in root.iter():
        if element.tag is etree.Comment:
            continue
        if not isinstance(element.tag, str):
            yield "processing instructions are not allowed in a narrative"
        elif element.tag not in TAGS:
            yield f"<{_plain(element.tag)}> is not allowed in a narrative"
        elif element.attrib:
            for name, value in element.attrib.items():
                yield from _attribute_problems(element.tag, name, value)


def _attribute_problems(tag: str, name: str, value: str) -> Iterator[str]:
    if name not in ATTRIBUTES:
        yield f"the attribute {_plain(name)!r} of <{_plain(tag)}> is not allowed in a narrative"
    elif name in _LINKS and _SAFE_LINK.match(value) is None:
        yield f"the link {value[:60]!r} is not allowed in a narrative"
    elif name == "style" and _UNSAFE_STYLE.search(value):
        yield f"the style {value[:60]!r} is not allowed in a narrative"


def _has_content(root: etree._Element) -> bool:
    if any(part.strip() for part in root.itertext(tag=etree.Element)):
        return True
    return next(root.iter(XHTML + "img"), None) is not None


def _plain(tag: object) -> str:
    return str(tag).removeprefix(XHTML)
