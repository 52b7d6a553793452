"""Leaks to plant: the guard taken away from one hop, or one of its mechanisms. Each must show."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fhir_server.search.expression import EVERYTHING, Expression, LinkedFrom, LinksTo
from fhir_server.security import (
    access,
    consent_filter,
    guarded_store,
    guarded_transaction,
    judge,
    patient_view,
    visibility,
)

Place = tuple[Any, str]


def _everything(*_: Any, **__: Any) -> Expression:
    return EVERYTHING


def _hops(kind: type) -> Callable[..., Expression]:
    """The guard of chains or of `_has` taken away."""

    def leaking(expression: Expression, view: Any) -> Expression:
        def seen(type_: str) -> Expression:
            return EVERYTHING if isinstance(expression, kind) else view(type_)

        return _GUARDED(expression, seen)

    return leaking


_GUARDED = visibility.guarded


async def _read_at_once(self: Any, reader: Any, key: Any, version: Any) -> Any:
    return await reader.get(key, version)


async def _seen_as_it_is(self: Any, reader: Any, key: Any, view: Any) -> bool:
    return True


async def _many_at_once(self: Any, keys: Any) -> Any:
    return await self._store.get_many(keys)


async def _whole_history(store: Any, judge_: Any, past: Any) -> Any:
    return await store.history(past)


async def _count_at_once(self: Any, query: Any) -> int:
    return int(await self._store.count(query))


async def _find_at_once(self: Any, query: Any) -> Any:
    return await self._inner.find(query)


async def _no_old_version(self: Any, *_: Any) -> None:
    return None


def _in_front_only(self: Any, query: Any) -> Any:
    return replace(query, where=_GUARDED(query.where, lambda type_: self.access.filter(type_, "s")))


def _emergency_for_all(type: str, patients: Any) -> Expression:
    return EVERYTHING if patients else _OF_PATIENTS(type, patients)


_OF_PATIENTS = consent_filter.of_patients


def _nothing_followed(*_: Any) -> list[Expression]:
    return []


PLANTS: Mapping[str, tuple[Place, Any]] = {
    "the filter in front of a search": ((judge.Judge, "narrowed"), _in_front_only),
    "the filter of a count": ((guarded_store.GuardedStore, "count"), _count_at_once),
    "the hop of a chain": ((judge, "guarded"), _hops(LinksTo)),
    "the hop of _has": ((judge, "guarded"), _hops(LinkedFrom)),
    "a read": ((judge.Judge, "readable"), _read_at_once),
    "what includes fetch": ((guarded_store.GuardedStore, "get_many"), _many_at_once),
    "the history": ((guarded_store, "guarded_history"), _whole_history),
    "the search in a transaction": (
        (guarded_transaction.GuardedTransaction, "find"),
        _find_at_once,
    ),
    "the version before a write": (
        (guarded_transaction.GuardedTransaction, "_check_old"),
        _no_old_version,
    ),
    "granular scopes": ((access, "scope_query"), _everything),
    "the patient compartment": ((access, "patient_filter"), _everything),
    "what a Binary follows": ((patient_view, "_followed"), _nothing_followed),
    "labels": ((access, "label_filter"), _everything),
    "tenants": ((access, "tenant_filter"), _everything),
    "Consents": ((access, "consent_filter"), _everything),
    "what a Consent hides with a record": ((consent_filter, "_followed"), _nothing_followed),
    "what a Consent hides with its content": ((consent_filter, "_content"), _nothing_followed),
    "one patient's emergency for all": ((access, "of_patients"), _emergency_for_all),
}
"""By what is unguarded: where, and what stands there instead."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The leak, for as long as this is open."""
    (place, attribute), mistaken = PLANTS[name]
    right = getattr(place, attribute)
    setattr(place, attribute, mistaken)
    try:
        yield
    finally:
        setattr(place, attribute, right)
