"""Uri parameters (R4 Search, "uri"): precise, case and accents count, nothing is escaped."""

from typing import Any

from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasTerm, any_of
from fhir_server.search.kinds.asked import (
    Asked,
    Entry,
    Extraction,
    KindOfParameter,
    equals,
    starts_with,
)
from fhir_server.search.kinds.text import unescape


def uri(value: Any, _: Extraction) -> Entry:
    """The uri as written."""
    return [("", terms.bounded(value))] if isinstance(value, str) else []


def same(asked: Asked, value: str) -> Expression:
    """Some value is exactly this uri."""
    return equals(asked.key, unescape(value))


def below(asked: Asked, value: str) -> Expression:
    """Some value starts with this uri."""
    return starts_with(asked.key, _searchable(asked, value))


def above(asked: Asked, value: str) -> Expression:
    """Some value is a beginning of this uri, or the uri itself."""
    text = _searchable(asked, value)
    return any_of([HasTerm(asked.key, text[:length]) for length in range(1, len(text) + 1)])


def _searchable(asked: Asked, value: str) -> str:
    text = unescape(value)
    if len(text) > terms.KEY_LENGTH:
        raise asked.refuse(f"longer than {terms.KEY_LENGTH} characters")
    return text


URI = KindOfParameter(
    encoders=dict.fromkeys(("uri", "url", "canonical", "oid", "uuid"), uri),
    modifiers={"": same, "below": below, "above": above},
)
