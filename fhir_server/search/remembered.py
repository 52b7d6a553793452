"""What values gave lately: most of a resource's content is like that of the one before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.fhir.codec import encode
from fhir_server.search.compiled import Node
from fhir_server.search.expression import TermTuple, TupleOfTerms
from fhir_server.search.kinds.asked import Encoder, Entry

MOST = 4096

Key = tuple[Node, bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """What one value of a resource's property gives: terms (keys of a dict, which are joined
    without hashing them again), tuples, the lowest and highest term by sortable parameter, and
    the terms of the value as a whole, which composites ask for."""

    terms: Mapping[TermTuple, None]
    tuples: tuple[TupleOfTerms, ...]
    lowest: Mapping[str, str]
    highest: Mapping[str, str]
    entries: Mapping[Encoder, Entry]


def key_of(node: Node, value: dict[str, Any]) -> Key:
    """The place and content of an object."""
    return node, encode(value)


@dataclass(slots=True)
class Remembered:
    """Parts by key, in two generations: when the younger is full it replaces the older. A key
    is met once without its part being kept: most of what never comes again costs no more.

    Safe to share between threads, as each step is atomic and a lost part is made again.
    """

    _younger: dict[Key, Part | None] = field(default_factory=dict)
    _older: dict[Key, Part | None] = field(default_factory=dict)

    def get(self, key: Key) -> Part | None:
        """The part, if it is known."""
        found = self._younger.get(key)
        if found is None:
            found = self._older.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def is_new(self, key: Key) -> bool:
        """Whether the key is met for the first time; the next time it is not."""
        if key in self._younger or key in self._older:
            return False
        self.put(key, None)
        return True

    def put(self, key: Key, part: Part | None) -> None:
        """Remember the part for a while."""
        if len(self._younger) >= MOST:
            self._younger, self._older = {}, self._younger
        self._younger[key] = part
