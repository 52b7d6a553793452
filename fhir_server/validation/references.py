"""References: their form, and the types an element may point at (R4 "References").

A wrong form is an error. A target type outside the definition is a warning, because the
official examples themselves contain some.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import ID, ParsedReference, parse_reference
from fhir_server.validation.primitives import PRIMITIVES


def reference_pattern(targets: Sequence[str] | None) -> str:
    """A pattern for the plain cases of a reference to one of `targets` (None: any type); what
    does not match may still be allowed."""
    types = "|".join(targets) if targets else "[A-Z][A-Za-z]+"
    rest = f"(?:https?://[^\\x00-\\x20\\x7f\\x85\\xa0]+/)?(?:{types})/{ID}(?:/_history/{ID})?"
    return f"^(?:{rest}|{PRIMITIVES['uuid'].pattern})$"


def check_reference(
    value: Mapping[str, Any], targets: Sequence[str] | None, *, place: str
) -> Iterator[Issue]:
    """The issues of one Reference whose elements have the right JSON types."""
    text = value.get("reference")
    if isinstance(text, str):
        try:
            parsed = parse_reference(text)
        except ValueError as failure:
            where = f"{place}.reference"
            yield Issue("error", "value", f"{where}: {failure}", (where,))
            return
        yield from _type_issues(value, parsed, targets, place=place)


def _type_issues(
    value: Mapping[str, Any],
    parsed: ParsedReference,
    targets: Sequence[str] | None,
    *,
    place: str,
) -> Iterator[Issue]:
    stated = value.get("type")
    if parsed.type is not None and isinstance(stated, str) and stated != parsed.type:
        where = f"{place}.type"
        text = f"{where}: says {stated}, but the reference is to a {parsed.type}"
        yield Issue("warning", "value", text, (where,))
    if parsed.type is not None and targets and parsed.type not in targets:
        where = f"{place}.reference"
        wanted = ", ".join(targets)
        text = f"{where}: refers to a {parsed.type}; the definition allows {wanted}"
        yield Issue("warning", "value", text, (where,))
