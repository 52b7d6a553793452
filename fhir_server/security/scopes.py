"""SMART App Launch 2.2 scopes: grammar, containment and intersection; pure.

`level/Type.cruds?query`: v1 endings (`.read`, `.write`, `.*`) become v2 at parse time. A scope
that doesn't fit the grammar is kept as refused with the reason and grants nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import parse_qsl, quote

from fhir_server.security.labels import opened_by

Level = Literal["patient", "user", "system"]
Action = Literal["c", "r", "u", "d", "s"]
Pairs = frozenset[tuple[str, str]]

ACTIONS = "".join(get_args(Action))
V1_ENDINGS = {"read": "rs", "write": "cud", "*": ACTIONS}
CONTEXTS = frozenset(
    {"openid", "profile", "fhirUser", "launch", "launch/patient", "launch/encounter"}
    | {"offline_access", "online_access"}
)
NAMED_ONLY = frozenset({"AuditEvent"})
"""Types that a client must be registered for by name: `*` does not let it ask for them."""
_FORM = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]*)\.([a-z]+|\*)(?:\?(.+))?")
_IN_ORDER = re.compile("".join(f"{action}?" for action in ACTIONS))


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """Permission for `actions` on resources of `type` (`*`: every type) that match all of the
    `query` pairs (search parameter, value)."""

    level: Level
    type: str
    actions: frozenset[str]
    query: Pairs = frozenset()

    def __str__(self) -> str:
        actions = "".join(action for action in ACTIONS if action in self.actions)
        query = "&".join(f"{quote(n)}={quote(v, safe=':/|,.')}" for n, v in sorted(self.query))
        return f"{self.level}/{self.type}.{actions}" + (f"?{query}" if query else "")

    @property
    def opens(self) -> frozenset[str]:
        """The restricted security labels that its query names: it reaches what a scope without
        them does not, so in this alone a query widens."""
        return opened_by(self.query)

    def contains(self, other: "ResourceScope") -> bool:
        """Whether everything that `other` grants is granted by this one."""
        return (
            self.level == other.level
            and _shared_type(self.type, other.type) == other.type
            and self.actions >= other.actions
            and self.query <= other.query
            and self.opens >= other.opens
        )

    def meet(self, other: "ResourceScope") -> "ResourceScope | None":
        """What both grant; None when that is nothing. Scopes that name different restricted
        labels are taken to have nothing in common."""
        actions = self.actions & other.actions
        type_ = _shared_type(self.type, other.type)
        if self.level != other.level or not actions or type_ is None:
            return None
        if self.opens != other.opens:
            return None
        return ResourceScope(self.level, type_, actions, self.query | other.query)


@dataclass(frozen=True, slots=True)
class RefusedScope:
    """A scope that grants nothing, and why."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scopes:
    """A parsed scope string; `contexts` are those without resources (`launch`, `openid` …)."""

    resources: tuple[ResourceScope, ...] = ()
    contexts: frozenset[str] = frozenset()
    refused: tuple[RefusedScope, ...] = ()

    def __str__(self) -> str:
        return " ".join([*sorted(self.contexts), *(str(scope) for scope in self.resources)])

    def contains(self, other: "Scopes") -> bool:
        """Whether `other` asks for nothing beyond these, action by action; the actions may be
        granted by several scopes together."""
        return other.contexts <= self.contexts and all(
            any(own.contains(one) for own in self.resources)
            for scope in other.resources
            for one in _single_actions(scope)
        )

    def meet(self, other: "Scopes") -> "Scopes":
        """What both grant, without repeats."""
        meets = (own.meet(its) for own in self.resources for its in other.resources)
        return Scopes(
            _without_contained(scope for scope in meets if scope is not None),
            self.contexts & other.contexts,
        )

    @property
    def needs_patient(self) -> bool:
        """Whether a patient has to be chosen before these can be granted."""
        return "launch/patient" in self.contexts or any(
            scope.level == "patient" for scope in self.resources
        )


def parse_scopes(text: str) -> Scopes:
    """A space-separated scope string as sent by a client or kept in a token."""
    resources: list[ResourceScope] = []
    contexts: set[str] = set()
    refused: list[RefusedScope] = []
    for word in dict.fromkeys(text.split()):
        if word in CONTEXTS:
            contexts.add(word)
            continue
        parsed = parse_scope(word)
        if isinstance(parsed, RefusedScope):
            refused.append(parsed)
        else:
            resources.append(parsed)
    return Scopes(tuple(resources), frozenset(contexts), tuple(refused))


def parse_scope(word: str) -> ResourceScope | RefusedScope:
    """One resource scope, or the reason why it is none."""
    form = _FORM.fullmatch(word)
    if form is None:
        return RefusedScope(word, "not of the form level/Type.actions")
    level, type_, ending, query = form.groups()
    actions = V1_ENDINGS.get(ending, ending)
    if not _IN_ORDER.fullmatch(actions):
        return RefusedScope(word, f"actions are some of '{ACTIONS}' in this order")
    pairs: Pairs = frozenset()
    if query is not None:
        try:
            listed = parse_qsl(query, strict_parsing=True, keep_blank_values=True)
        except ValueError:
            return RefusedScope(word, "its query has a part that is not name=value")
        if not all(name and value for name, value in listed):
            return RefusedScope(word, "its query has an empty name or value")
        pairs = frozenset(listed)
    return ResourceScope(_level(level), type_, frozenset(actions), pairs)


def _shared_type(one: str, other: str) -> str | None:
    """The types that both name: one, every (`*`), or none."""
    if one == other:
        return one
    if "*" not in (one, other) or NAMED_ONLY & {one, other}:
        return None
    return other if one == "*" else one


def _level(text: str) -> Level:
    for level in get_args(Level):
        if level == text:
            return level  # type: ignore[no-any-return]  # get_args loses the literal's type
    raise ValueError(f"scope level {text!r}")


def _single_actions(scope: ResourceScope) -> Iterable[ResourceScope]:
    for action in scope.actions:
        yield ResourceScope(scope.level, scope.type, frozenset(action), scope.query)


def _without_contained(scopes: Iterable[ResourceScope]) -> tuple[ResourceScope, ...]:
    kept: list[ResourceScope] = []
    for scope in scopes:
        if any(other.contains(scope) for other in kept):
            continue
        kept = [other for other in kept if not scope.contains(other)]
        kept.append(scope)
    return tuple(kept)
