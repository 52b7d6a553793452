"""Searches that AuditEvents quote, sealed by a commitment; pure (ADR 0033).

A search may say a name. So the chain covers not its text but the SHA-256 of a salt and the text,
which stand beside it in `entity.detail`. Whoever has the event can check the text; once the salt is
taken out and the text replaced, the chain still holds, and nobody can find out from the hash what
the text was. Events that were sealed before this have no commitment: all of them is covered.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

Resource = dict[str, Any]

SALT, COMMITMENT = "query-salt", "query-commitment"
"""`entity.detail.type` of what stands beside a quoted search."""


def committed(event: Resource, new_salt: Callable[[], str]) -> Resource:
    """The event with a commitment to each search that it quotes."""
    return _with_entities(event, lambda entity: _committed(entity, new_salt))


def sealed_form(event: Resource) -> Resource:
    """What the chain covers of an event: all but the searches that it has committed to, and their
    salts."""
    return _with_entities(event, lambda e: _bare(e) if _detail(e, COMMITMENT) else e)


def is_as_committed(event: Resource) -> bool:
    """Whether each search that still has its salt is the one that was committed to."""
    return all(
        _hash(salt, entity.get("query", "")) == _detail(entity, COMMITMENT)
        for entity in event.get("entity", ())
        if _detail(entity, COMMITMENT) and (salt := _detail(entity, SALT)) is not None
    )


def is_redacted(event: Resource) -> bool:
    """Whether a search that the event has committed to was taken out."""
    return any(
        _detail(entity, COMMITMENT) and _detail(entity, SALT) is None
        for entity in event.get("entity", ())
    )


def queries(event: Resource) -> Iterator[str]:
    """The searches that the event quotes, as they were sent."""
    for entity in event.get("entity", ()):
        if "query" in entity:
            yield _text(entity["query"])


def redacted(event: Resource, redact: Callable[[str], str]) -> Resource:
    """The event with each search as `redact` leaves it. Where that changes it, and the chain does
    not cover its text, its salt goes too; one that the chain covers stays as it is."""
    return _with_entities(event, lambda entity: _redacted(entity, redact))


def _with_entities(event: Resource, change: Callable[[Resource], Resource]) -> Resource:
    if not any("query" in each for each in event.get("entity", ())):
        return event
    return {**event, "entity": [change(each) for each in event["entity"]]}


def _committed(entity: Resource, new_salt: Callable[[], str]) -> Resource:
    if "query" not in entity:
        return entity
    salt = new_salt()
    said = (SALT, salt), (COMMITMENT, _hash(salt, entity["query"]))
    details = [{"type": name, "valueString": value} for name, value in said]
    return {**entity, "detail": [*entity.get("detail", ()), *details]}


def _bare(entity: Resource) -> Resource:
    details = [each for each in entity["detail"] if each.get("type") != SALT]
    return {**{name: each for name, each in entity.items() if name != "query"}, "detail": details}


def _redacted(entity: Resource, redact: Callable[[str], str]) -> Resource:
    if "query" not in entity or not _detail(entity, COMMITMENT):
        return entity
    before = _text(entity["query"])
    after = redact(before)
    if after == before:
        return entity
    return {**_bare(entity), "query": base64.b64encode(after.encode()).decode()}


def _detail(entity: Resource, name: str) -> str | None:
    return next(
        (
            str(each["valueString"])
            for each in entity.get("detail", ())
            if each.get("type") == name and "valueString" in each
        ),
        None,
    )


def _hash(salt: str, query: str) -> str:
    return hashlib.sha256(f"{salt}{query}".encode()).hexdigest()


def _text(query: str) -> str:
    try:
        return base64.b64decode(query).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
