"""Written search values: separators, escapes, and text without case and accents."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from bench.oracle.elements import Value


def parts(text: str, separator: str) -> list[str]:
    """The parts between separators that are not escaped; escapes stay."""
    found, start, place = [], 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == separator:
            found.append(text[start:place])
            start = place + 1
        place += 1
    return [*found, text[start:]]


def plain(text: str) -> str:
    """The text that the escapes stand for."""
    found, place = "", 0
    while place < len(text):
        if text[place] == "\\" and text[place + 1 : place + 2] in (",", "$", "|", "\\"):
            place += 1
        found += text[place]
        place += 1
    return found


def folded(text: str) -> str:
    """Without case, accents and surplus spaces."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(each for each in letters if unicodedata.combining(each) == 0)
    return " ".join(bare.casefold().split())


def strings(value: Value) -> list[str]:
    """The texts of a value: of a name or an address its parts, of a text itself."""
    content = value.content
    if isinstance(content, str):
        return [content]
    names = {
        "HumanName": ("text", "family", "given", "prefix", "suffix"),
        "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    }[value.datatype]
    return [text for name in names for text in _listed(content, name)]


def displays(value: Value) -> list[str]:
    """What `:text` looks at on a token."""
    content = value.content
    match value.datatype:
        case "CodeableConcept":
            codings = [_listed(each, "display") for each in content.get("coding", ())]
            return [*_listed(content, "text"), *(text for each in codings for text in each)]
        case "Coding":
            return _listed(content, "display")
        case "Identifier":
            return _listed(content.get("type", {}), "text")
        case _:
            return []


def _listed(content: Mapping[str, Any], name: str) -> list[str]:
    found = content.get(name)
    listed = found if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, str)]


def has_words(wanted: str, texts: list[str]) -> bool:
    """Every word asked for begins a word of the texts."""
    known = [word for text in texts for word in words(text)]
    return all(any(word.startswith(each) for word in known) for each in words(wanted))


def words(text: str) -> list[str]:
    """The folded words: runs of letters and digits."""
    return "".join(each if each.isalnum() else " " for each in folded(text)).split()
