"""Which resources have a Binary as their content: an attachment names it by its address, so neither
the index nor a compartment says whose it is when it has no security context of its own."""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from fhir_server.fhir.codec import encode, parse
from fhir_server.storage.port import Key, Stored

_BINARY = re.compile(rb"Binary/([A-Za-z0-9\-.]{1,64})")
_CONTEXT = re.compile(
    rb'"securityContext"\s*:\s*\{[^{}]*"reference"\s*:\s*"(?:[^"]*/)?([A-Z]\w+)/([^"/]+)"'
)


@dataclass
class Contents:
    """Each Binary with the resources that have it, in any version, and the one that it names as
    its security context."""

    _had_by: dict[Key, set[Key]] = field(default_factory=dict)
    _there: set[Key] = field(default_factory=set)

    def note(self, stored: Stored) -> None:
        """Look at a version of a resource that has content."""
        if stored.key.type == "Binary":
            self._there.add(stored.key)
            context = _CONTEXT.search(stored.body)
            if context is not None:
                holder = Key(context[1].decode(), context[2].decode())
                self._had_by.setdefault(stored.key, set()).add(holder)
            return
        if stored.key.type == "Provenance":  # it goes with what it is about
            return
        for body in readings(stored.body):
            for id in _BINARY.findall(body):
                self._had_by.setdefault(Key("Binary", id.decode()), set()).add(stored.key)

    def of(self, keys: Set[Key]) -> set[Key]:
        """The Binaries that some of these have."""
        had = {binary for binary, holders in self._had_by.items() if holders & keys}
        return had & self._there

    def had_by_none_of(self, keys: Set[Key]) -> set[Key]:
        """The Binaries that none of these has."""
        return {each for each in self._there if not self._had_by.get(each, set()) & keys}

    def is_alone_in(self, binary: Key, keys: Set[Key]) -> bool:
        """Whether nothing but these has it."""
        return self._had_by[binary] <= keys


def readings(body: bytes) -> Iterator[bytes]:
    """The bytes in which a reference is looked for: it may be written with escapes."""
    yield body
    if b"\\" in body:
        yield encode(parse(body))
