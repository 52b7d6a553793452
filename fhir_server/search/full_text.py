"""The words of a resource, for `_text` and `_content` (R4 Search, "Text Search Parameters").

`_text` has the words of the narrative. `_content` has, besides these, the words of every text and
code in the resource; not those of what only points somewhere or says when (references, URLs,
ids, dates, binary data) nor of `meta`: docs/spec-readings.md, "Text and content".
"""

import html
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from fhir_server.fhir.definitions import choice_key, structures
from fhir_server.search import terms
from fhir_server.search.expression import TermTuple

WORD_LENGTH = 64
"""Longest word: further letters do not count, in resources and in queries."""

MOST_WORDS = 5000
"""Most words of one resource that are kept; what a Bundle or a long document has beyond them is
not found by its words."""

UNREAD_TYPES = frozenset({"AuditEvent"})
"""Types whose words are not indexed: each request leaves such a resource, all of codes and names
that have parameters of their own."""

_TAG = re.compile(r"<[^>]*>")
_WORDLESS = frozenset(
    ("base64Binary", "canonical", "date", "dateTime", "id", "instant", "oid", "time", "uri", "url",
     "uuid")
)  # fmt: skip
_POINTERS = frozenset({"div", "id", "meta", "reference", "resourceType", "system", "url"})


def narrative_key(type_: str) -> str:
    """Where the words of the narrative stand."""
    return terms.key(type_, "_text")


def content_key(type_: str) -> str:
    """Where the words of everything else stand."""
    return terms.key(type_, "_content")


def word_terms(resource: Mapping[str, Any]) -> list[TermTuple]:
    """The words of a resource as terms."""
    type_ = resource["resourceType"]
    if type_ in UNREAD_TYPES:
        return []
    told = dict.fromkeys(_narrative(resource))
    content: dict[str, None] = {}
    for text in _texts(resource, _skipped()):
        content.update(_word_keys(text))
        if len(content) > MOST_WORDS:
            break
    named, key = content_key(type_), narrative_key(type_)
    found = [(key, word) for word in list(told)[:MOST_WORDS]]
    found.extend((named, word) for word in list(content)[:MOST_WORDS] if word not in told)
    return found


def cut_words(text: str) -> tuple[str, ...]:
    """The folded words of a text, none longer than WORD_LENGTH."""
    found = terms.words(text)
    if all(len(word) <= WORD_LENGTH for word in found):
        return found
    return tuple(word[:WORD_LENGTH] for word in found)


def _narrative(resource: Mapping[str, Any]) -> tuple[str, ...]:
    narrative = resource.get("text")
    div = narrative.get("div") if isinstance(narrative, dict) else None
    return cut_words(html.unescape(_TAG.sub(" ", div))) if isinstance(div, str) else ()


@lru_cache(maxsize=8192)
def _word_keys(text: str) -> dict[str, None]:
    return dict.fromkeys(cut_words(text))


def _texts(value: Mapping[str, Any], skipped: frozenset[str]) -> dict[str, None]:
    """Every text and code of an object and of what is in it, each once, in order."""
    found: dict[str, None] = {}
    waiting: list[Any] = [value]
    for one in waiting:
        for name, inner in one.items():
            if name not in skipped:
                _sort_out(inner if type(inner) is list else (inner,), found, waiting)
    return found


def _sort_out(values: Iterable[Any], texts: dict[str, None], objects: list[Any]) -> None:
    for each in values:
        if type(each) is str:
            texts[each] = None
        elif type(each) is dict:
            objects.append(each)


@cache
def _skipped() -> frozenset[str]:
    """The properties that hold nothing but what has no words."""
    types: dict[str, set[str]] = {}
    for definition in structures().values():
        for name, element in definition["elements"].items():
            for type_ in element["types"]:
                key = choice_key(name, type_) if element.get("choice") else name
                types.setdefault(key, set()).add(type_)
    wordless = {name for name, found in types.items() if found <= _WORDLESS}
    return _POINTERS | wordless
