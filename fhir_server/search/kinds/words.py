"""Searches for words (R4 Search, "Text Search Parameters"): `_text`, `_content`, and `:text` on
strings.

`(bone OR liver) and metastases`: words that follow each other must all be there; AND, OR (in
either case), NOT (in capitals) and parentheses join them. A word finds what begins with it, in
quotes only itself. A resource has words, not their order: phrases are refused.
"""

import re
from collections.abc import Callable

from fhir_server.search.expression import Expression, HasTerm, Not, all_of, any_of
from fhir_server.search.full_text import content_key, cut_words, narrative_key
from fhir_server.search.kinds.asked import Asked, KindOfParameter, starts_with
from fhir_server.search.kinds.text import unescape

MOST_WORDS = 50
MOST_NESTED = 10

_PIECE = re.compile(r'[()]|"[^"]*"|[^\s()"]+')

FindWord = Callable[[str, bool], Expression]
"""A folded word, and whether it must be whole → the expression that finds it."""


def words_test(asked: Asked, value: str, find: FindWord) -> Expression:
    """The resources that have the words as the query joins them."""
    text = unescape(value)
    if text.count('"') % 2:
        raise asked.refuse(f"{value!r} has a quotation mark without its other")
    reader = _Reader(asked, _PIECE.findall(text), find)
    found = reader.alternatives(0)
    if reader.pieces:
        raise asked.refuse(f"{value!r} has a parenthesis without its other")
    return found


class _Reader:
    """A recursive-descent reader of one query."""

    def __init__(self, asked: Asked, pieces: list[str], find: FindWord) -> None:
        if len(pieces) > MOST_WORDS:
            raise asked.refuse(f"more than {MOST_WORDS} words")
        self.pieces = pieces
        self._asked = asked
        self._find = find

    def alternatives(self, depth: int) -> Expression:
        """What OR joins."""
        if depth > MOST_NESTED:
            raise self._asked.refuse(f"more than {MOST_NESTED} parentheses inside each other")
        found = [self._together(depth)]
        while self._is_next("OR"):
            self.pieces.pop(0)
            found.append(self._together(depth))
        return any_of(found)

    def _together(self, depth: int) -> Expression:
        found: list[Expression] = []
        is_joined = False
        while self.pieces and self.pieces[0] != ")" and not self._is_next("OR"):
            if self._is_next("AND"):
                if not found or is_joined:
                    break
                is_joined = True
                self.pieces.pop(0)
                continue
            found.append(self._one(depth))
            is_joined = False
        if not found or is_joined:
            raise self._asked.refuse("a word is missing")
        return all_of(found)

    def _one(self, depth: int) -> Expression:
        piece = self.pieces.pop(0)
        if piece == "NOT":
            if not self.pieces or self.pieces[0] == ")":
                raise self._asked.refuse("a word is missing after NOT")
            return Not(self._one(depth))
        if piece == "(":
            inner = self.alternatives(depth + 1)
            if not self.pieces or self.pieces.pop(0) != ")":
                raise self._asked.refuse("a parenthesis is left open")
            return inner
        is_whole = piece.startswith('"')
        found = cut_words(piece)
        if not found:
            raise self._asked.refuse(f"{piece!r} is no word")
        if is_whole and len(found) > 1:
            raise self._asked.refuse(f"phrases are not supported; ask for the words of {piece}")
        return all_of(self._find(word, is_whole) for word in found)

    def _is_next(self, operator: str) -> bool:
        return bool(self.pieces) and self.pieces[0].upper() == operator


def among_terms(*keys: str) -> FindWord:
    """Words that stand under any of the keys."""

    def find(word: str, is_whole: bool) -> Expression:
        if is_whole:
            return any_of(HasTerm(key, word) for key in keys)
        return any_of(starts_with(key, word) for key in keys)

    return find


def _in_text(asked: Asked, value: str) -> Expression:
    return words_test(asked, value, among_terms(asked.key))


def _in_content(asked: Asked, value: str) -> Expression:
    type_ = asked.key.partition(".")[0]
    return words_test(asked, value, among_terms(narrative_key(type_), content_key(type_)))


NARRATIVE = KindOfParameter(encoders={}, modifiers={"": _in_text})
CONTENT = KindOfParameter(encoders={}, modifiers={"": _in_content})
