"""String parameters (R4 Search, "string"): starts-with, without case, accents or extra spaces."""

from typing import Any

from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasText, any_of
from fhir_server.search.full_text import cut_words
from fhir_server.search.kinds.asked import (
    Asked,
    Entry,
    Extraction,
    KindOfParameter,
    equals,
    starts_with,
)
from fhir_server.search.kinds.text import unescape
from fhir_server.search.kinds.words import among_terms, words_test

NAME_PARTS = ("family", "given", "prefix", "suffix", "text")
ADDRESS_PARTS = ("line", "city", "district", "state", "postalCode", "country", "text")


def text(value: Any, _: Extraction) -> Entry:
    """A string: folded, and as written; a long one in chunks too, for `:contains`; the words of
    one that is more than a word, for `:text`."""
    if not isinstance(value, str):
        return []
    folded = terms.fold(value)
    entry = [("", terms.bounded(folded)), ("=", terms.bounded(value))]
    if len(folded) > terms.KEY_LENGTH:
        entry.extend(("+", each) for each in terms.chunks(folded))
    found = cut_words(value)
    if found != (folded,):
        entry.extend((":text", word) for word in found)
    return entry


def human_name(value: Any, extraction: Extraction) -> Entry:
    """Each part of the name on its own."""
    return _parts(value, NAME_PARTS, extraction)


def address(value: Any, extraction: Extraction) -> Entry:
    """Each part of the address on its own."""
    return _parts(value, ADDRESS_PARTS, extraction)


def _parts(value: Any, names: tuple[str, ...], extraction: Extraction) -> Entry:
    entry: list[tuple[str, str]] = []
    for name in names:
        part = value.get(name)
        for each in part if isinstance(part, list) else (part,):
            entry.extend(text(each, extraction))
    return entry


def begins(asked: Asked, value: str) -> Expression:
    """Some value starts with the text, folded."""
    folded = terms.fold(unescape(value))
    if len(folded) > terms.KEY_LENGTH:
        raise asked.refuse(f"longer than {terms.KEY_LENGTH} characters; :exact takes any length")
    return starts_with(asked.key, folded)


def exact(asked: Asked, value: str) -> Expression:
    """Some value is the text, character by character."""
    return equals(asked.key + "=", unescape(value))


def contains(asked: Asked, value: str) -> Expression:
    """Some value has the text anywhere, folded."""
    folded = terms.fold(unescape(value))
    if len(folded) > terms.CHUNK_OVERLAP:
        raise asked.refuse(f":contains takes at most {terms.CHUNK_OVERLAP} characters")
    return any_of([HasText(asked.key, folded), HasText(asked.key + "+", folded)])


def with_words(asked: Asked, value: str) -> Expression:
    """The values have the words (`kinds/words.py`)."""
    return words_test(asked, value, among_terms(asked.key, asked.key + ":text"))


STRING = KindOfParameter(
    encoders={
        **dict.fromkeys(("string", "markdown", "code", "id", "uri"), text),
        "HumanName": human_name,
        "Address": address,
    },
    modifiers={"": begins, "exact": exact, "contains": contains, "text": with_words},
)
