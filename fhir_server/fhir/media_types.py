"""Media types and what is spoken of them (R4 RESTful API, "Content Types and encodings"; RFC 9110,
"Accept"): which form of a resource an Accept header wants, and which one a body is in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Syntax = Literal["json", "xml"]

MOST_RANGES = 100
FHIR_VERSIONS = frozenset({"4.0", "4.0.1"})
SPOKEN = "application/fhir+json and application/fhir+xml are spoken here"


@dataclass(frozen=True, slots=True)
class Form:
    """A form in which a resource is sent: its media type and the value of Content-Type."""

    name: str
    syntax: Syntax
    content_type: bytes


def _form(name: str, syntax: Syntax) -> Form:
    return Form(name, syntax, f"{name}; charset=utf-8".encode())


FHIR_JSON = _form("application/fhir+json", "json")
FHIR_XML = _form("application/fhir+xml", "xml")
FORMS: Mapping[str, Form] = {
    each.name: each
    for each in (
        FHIR_JSON,
        _form("application/json", "json"),
        FHIR_XML,
        _form("application/xml", "xml"),
        _form("text/json", "json"),
        _form("text/xml", "xml"),
    )
}
"""The forms by media type, in the order in which they are preferred where all are alike."""
_FORMATS: Mapping[str, Form] = {**FORMS, "json": FHIR_JSON, "xml": FHIR_XML}


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One part of an Accept header, or a Content-Type: lower-case name and parameters."""

    name: str
    parameters: Mapping[str, str]

    @property
    def quality(self) -> float:
        """The weight from 0 (never) to 1; what is no weight counts as never."""
        try:
            weight = float(self.parameters.get("q", "1"))
        except ValueError:
            return 0.0
        return weight if 0 <= weight <= 1 else 0.0

    @property
    def is_of_r4(self) -> bool:
        """Whether the FHIR version, if one is named, is the one that is spoken here."""
        return self.parameters.get("fhirversion", "4.0") in FHIR_VERSIONS

    def covers(self, name: str) -> int:
        """How exactly the range means the media type: 3 by name, 2 `type/*`, 1 `*/*`, 0 not."""
        if self.name == name:
            return 3
        if self.name == "*/*":
            return 1
        return 2 if self.name.endswith("/*") and name.startswith(self.name[:-1]) else 0


@lru_cache(maxsize=256)
def media_range(text: str) -> MediaRange:
    """A media type or range with its parameters."""
    name, *parameters = (part.strip() for part in text.split(";"))
    pairs = (part.partition("=") for part in parameters)
    found = {key.strip().lower(): value.strip(' "') for key, _, value in pairs}
    return MediaRange(name.lower(), found)


@lru_cache(maxsize=256)
def ranges_of(accept: str) -> tuple[MediaRange, ...]:
    """The parts of an Accept header, in the order given; what comes after the first hundred is
    not looked at."""
    parts = [part.strip() for part in accept.split(",", MOST_RANGES)[:MOST_RANGES]]
    return tuple(media_range(part) for part in parts if part)


def quality(ranges: Iterable[MediaRange], name: str, *, at_least: int = 1) -> float:
    """How much a media type is wanted: the weight of the range that means it most exactly, of
    those that mean it at least so exactly (see `MediaRange.covers`)."""
    best = max(ranges, key=lambda each: each.covers(name), default=None)
    return best.quality if best is not None and best.covers(name) >= at_least else 0.0


@lru_cache(maxsize=256)
def accepted(accept: str) -> Form | None:
    """The form that the Accept header wants most, the first one named among equals; None when
    no form will do."""
    ranges = ranges_of(accept)
    usable = tuple(each for each in ranges if each.is_of_r4)
    order = [each.name for each in usable]

    def rank(form: Form) -> tuple[float, int]:
        named = order.index(form.name) if form.name in order else len(order)
        return quality(usable, form.name), -named

    best = max(FORMS.values(), key=rank)
    if rank(best)[0] <= 0:
        return None
    chosen = next((each for each in usable if each.name == best.name), None)
    return _versioned(best, chosen)


@lru_cache(maxsize=256)
def formatted(format: str) -> Form | None:
    """The form that `_format` names: json, xml or a media type; None for any other."""
    # A plus sign in a query string is a space once it is decoded.
    name, _, rest = format.partition(";")
    asked = media_range(f"{name.strip().replace(' ', '+')};{rest}")
    form = _FORMATS.get(asked.name)
    return _versioned(form, asked) if form is not None and asked.is_of_r4 else None


def sent_as(content_type: str) -> Form | None:
    """The form of a body with this Content-Type; None where it is none that is spoken here:
    another type, character set or FHIR version."""
    given = media_range(content_type)
    return FORMS.get(given.name) if is_unicode(given) and given.is_of_r4 else None


def is_unicode(given: MediaRange) -> bool:
    """Whether the character set, if one is named, is UTF-8."""
    return given.parameters.get("charset", "utf-8").lower() in ("utf-8", "utf8")


def _versioned(form: Form, asked: MediaRange | None) -> Form:
    """A caller who names the FHIR version is told it as well."""
    version = asked.parameters.get("fhirversion") if asked is not None else None
    if version is None:
        return form
    return Form(form.name, form.syntax, form.content_type + f"; fhirVersion={version}".encode())
