"""`_text`: the words of a narrative, joined by AND, OR, NOT and parentheses."""

import html
import re
from collections.abc import Mapping
from typing import Any

from bench.oracle.texts import words


def says(query: str, resource: Mapping[str, Any]) -> bool:
    """Whether the narrative has the words as the query joins them."""
    div = resource.get("text", {}).get("div", "")
    known = words(html.unescape(re.sub(r"<[^>]*>", " ", div)))
    return _Query(re.findall(r'[()]|"[^"]*"|[^\s()"]+', query), known).either()


class _Query:
    def __init__(self, pieces: list[str], known: list[str]) -> None:
        self._pieces = pieces
        self._known = known

    def either(self) -> bool:
        """What OR joins; every part is read, also when the answer is known."""
        found = [self._all()]
        while self._pieces and self._pieces[0].upper() == "OR":
            self._pieces.pop(0)
            found.append(self._all())
        return any(found)

    def _all(self) -> bool:
        found = []
        while self._pieces and self._pieces[0] != ")" and self._pieces[0].upper() != "OR":
            if self._pieces[0].upper() == "AND":
                self._pieces.pop(0)
            found.append(self._one())
        return all(found)

    def _one(self) -> bool:
        piece = self._pieces.pop(0)
        if piece == "NOT":
            return not self._one()
        if piece == "(":
            inner = self.either()
            self._pieces.pop(0)
            return inner
        if piece.startswith('"'):
            return all(each in self._known for each in words(piece))
        return all(any(own.startswith(each) for own in self._known) for each in words(piece))
