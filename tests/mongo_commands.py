"""Listens to what is sent to MongoDB and compares it with the adapter's table of commands."""

from collections.abc import Iterator, Mapping
from typing import Any

from pymongo import monitoring

from fhir_server.storage.mongo.commands import (
    COMMANDS,
    EVERY_COMMAND,
    INDEX_KINDS,
    OPERATORS,
)

OWN = frozenset({"dropDatabase", "listIndexes", "hello", "replSetInitiate"})
"""What tests themselves send, and what makes a new server a replica set."""

_FLAT = frozenset({"documents", "$clusterTime", "lsid", "recoveryToken", "$readPreference"})
"""Options whose content is the driver's, or data."""


def outside(name: str, command: Mapping[str, Any]) -> Iterator[str]:
    """What of a command is not in the table."""
    if name not in COMMANDS:
        yield f"command {name}"
        return
    allowed = {**EVERY_COMMAND, **COMMANDS[name]}
    for option, value in command.items():
        if option in _FLAT:
            if option != "documents" and option not in allowed:
                yield f"{name}: option {option}"
            continue
        parts = {each.partition(".")[2] for each in allowed if each.startswith(option + ".")}
        if parts:
            for document in value if isinstance(value, list) else [value]:
                yield from (f"{name}: {option}.{each}" for each in document if each not in parts)
        elif option not in allowed:
            yield f"{name}: option {option}"
        yield from (f"{name}: operator {each}" for each in _operators(value))
    for index in command.get("indexes", ()):
        kinds = set(index["key"].values()) - set(INDEX_KINDS)
        yield from (f"index kind {kind}" for kind in kinds)


def _operators(value: Any) -> Iterator[str]:
    """Operators that are not in the table, and an `$elemMatch` that begins with one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key.startswith("$") and key not in OPERATORS:
                yield key
            if key == "$elemMatch" and next(iter(inner), "") in {"$or", "$and", "$nor"}:
                yield f"$elemMatch that begins with {next(iter(inner))}"
            if key == "$elemMatch" and "$or" in inner:
                yield "$or inside $elemMatch"
            yield from _operators(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _operators(inner)


class WireListener(monitoring.CommandListener):
    """Notes which commands were seen, and what of them is outside the table."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.outside: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in OWN:
            return
        self.seen.add(event.command_name)
        if len(self.outside) < 20:
            self.outside.extend(outside(event.command_name, event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Answers do not matter here."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Answers do not matter here."""


LISTENER = WireListener()
"""Hears every client that is made after `listen`."""

_is_listening = False


def listen() -> WireListener:
    """Start listening, once for the process."""
    global _is_listening
    if not _is_listening:
        monitoring.register(LISTENER)
        _is_listening = True
    return LISTENER
