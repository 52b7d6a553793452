"""References and canonicals (R4 "References between Resources", "canonical")."""

import re
from typing import Literal, NamedTuple

from fhir_server.fhir.definitions import resource_types

ReferenceKind = Literal["contained", "relative", "absolute", "urn", "url", "conditional"]

ID = r"[A-Za-z0-9\-.]{1,64}"
_REST = re.compile(
    rf"(?P<service>https?://\S+/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>{ID})"
    rf"(?:/_history/(?P<version>{ID}))?(?:#(?P<fragment>\S*))?",
    re.ASCII,
)
_CONTAINED = re.compile(rf"#(?P<id>{ID})?", re.ASCII)
_CONDITIONAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?(?P<query>\S+)", re.ASCII)
_URN = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]{0,31}:\S+", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII)
_CANONICAL = re.compile(r"(?P<url>[^|#\s]*)(?:\|(?P<version>[^#\s]+))?(?:#(?P<fragment>\S+))?")


class ParsedReference(NamedTuple):
    """What Reference.reference says.

    contained    `#x` (id x; `#` alone is the container itself, id None)
    relative     `Type/id` and `Type/id/_history/v`
    absolute     the same behind `service`, the base URL without its final slash
    conditional  `Type?query`, legal in transactions only
    urn, url     any other URI; only `text` says more
    """

    kind: ReferenceKind
    text: str
    type: str | None = None
    id: str | None = None
    version: str | None = None
    service: str | None = None
    query: str | None = None


class Canonical(NamedTuple):
    """A canonical split at `|` and `#`; `url` is empty for a reference to a contained resource."""

    url: str
    version: str | None = None
    fragment: str | None = None


def parse_reference(text: str) -> ParsedReference:
    """The parts of a literal reference; raises ValueError, with a reason, when it is none."""
    rest = _REST.fullmatch(text)
    if rest is not None and rest["type"] in resource_types():
        service = rest["service"]
        kind: ReferenceKind = "relative" if service is None else "absolute"
        return ParsedReference(
            kind, text, rest["type"], rest["id"], rest["version"], service and service[:-1]
        )
    contained = _CONTAINED.fullmatch(text)
    if contained is not None:
        return ParsedReference("contained", text, id=contained["id"])
    conditional = _CONDITIONAL.fullmatch(text)
    if conditional is not None and conditional["type"] in resource_types():
        return ParsedReference("conditional", text, conditional["type"], query=conditional["query"])
    if _URN.fullmatch(text):
        return ParsedReference("urn", text)
    if _URL.fullmatch(text):
        return ParsedReference("url", text)
    raise ValueError(_why_not(text))


def relative_to(text: str, base_url: str) -> str:
    """The reference with this server's own base URL taken off."""
    return text.removeprefix(base_url.rstrip("/") + "/")


def who_is(text: str, base_url: str) -> str:
    """One text for each way of writing a reference to somebody: `Type/id` for this server's own,
    `base/Type/id` for another's, whatever the version. What is no reference stays as it is."""
    try:
        parsed = parse_reference(text)
    except ValueError:
        return text
    if parsed.kind not in ("relative", "absolute"):
        return text
    is_own = parsed.service in (None, base_url.rstrip("/"))
    name = f"{parsed.type}/{parsed.id}"
    return name if is_own else f"{parsed.service}/{name}"


def parse_canonical(text: str) -> Canonical:
    """url, version and fragment of a canonical; raises ValueError for text that is none."""
    match = _CANONICAL.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a canonical (url, url|version, #fragment)")
    return Canonical(match["url"], match["version"], match["fragment"])


def _why_not(text: str) -> str:
    head = re.split(r"[/?]", text, maxsplit=1)[0]
    if head != text and re.fullmatch(r"[A-Za-z]+", head) and head not in resource_types():
        return f"{text!r} begins with {head!r}, which is not a resource type of R4"
    return f"{text!r} is not a reference (Type/id, an absolute URL, urn:uuid:…, or #id)"
