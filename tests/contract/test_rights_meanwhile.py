"""What is written while a run of retention or an erasure goes on counts, on both stores."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir_server.rights.ending import Ending, end
from fhir_server.rights.erasure import HeldForLaw, Ordered, erase, hold, release
from fhir_server.rights.retention import Due, due, read_policy
from fhir_server.storage.port import Draft, Key, Past, ResourceStore
from tests.fhir_world import extract
from tests.rights_ward import BO, drafted, fill, observation, provenance
from tests.stores import START, put

LATER = START + timedelta(days=41)
POLICY = read_policy("Observation = 1\nPatient = 1\nAppointment = 1")
ORDERED = Ordered(Key("Patient", "ann"), "legal-order", lambda key, version: b"{}", lambda: START)
Json = dict[str, Any]


class Meanwhile:
    """The store, to which others write just before a unit that ends something is begun: the first
    one, or the one of that number."""

    def __init__(self, store: ResourceStore, *drafts: Draft, at: int = 1) -> None:
        self._store = store
        self._drafts: Sequence[Draft] = drafts
        self._left = at
        self.before: Callable[[], Awaitable[None]] = self._write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def transaction(self, unit: Any) -> Any:
        """The unit, after the others."""
        self._left -= 1
        if not self._left:
            await self.before()
        return await self._store.transaction(unit)

    async def _write(self) -> None:
        await put(self._store, *self._drafts)


def now(resource: Json, version: int = 1) -> Draft:
    """A version that is written during the run."""
    made = drafted(resource, version)
    return replace(made, stored=replace(made.stored, updated=LATER))


async def ended(store: ResourceStore, *drafts: Draft, at: int = 1) -> Due:
    """A run of retention during which these are written."""
    late: Any = Meanwhile(store, *drafts, at=at)
    return await end(late, extract(), Ending(POLICY, lambda: LATER, lambda key, version: b"{}"))


async def is_there(store: ResourceStore, text: str) -> bool:
    type, _, id = text.partition("/")
    found = await store.get(Key(type, id))
    return found is not None and not found.is_deleted


async def test_what_nobody_touches_goes_and_is_counted(store: ResourceStore) -> None:
    await fill(store)
    found = await ended(store)
    assert found.counts() == {
        "Appointment": 1,
        "Observation": 3,
        "Patient": 2,
        "Provenance": 2,
    }
    assert found.needed == {"Patient": 1}, "the letter is no part of the policy, and names one"
    for each in found.keys:
        assert not await is_there(store, str(each))


async def test_a_patient_whom_something_new_names_stays(store: ResourceStore) -> None:
    await fill(store)
    found = await ended(store, now(observation("new", "Patient/annex", "Seen today")), at=2)
    assert await is_there(store, "Patient/annex")
    assert Key("Patient", "annex") not in found.keys
    assert found.needed == {"Patient": 2}
    assert not await is_there(store, BO)


async def test_a_patient_who_is_named_where_no_search_finds_it_stays(store: ResourceStore) -> None:
    await fill(store)
    told = {"url": "http://example.org/mother", "valueReference": {"reference": "Patient/annex"}}
    child = observation("new", "Group/children", "A child of hers") | {"extension": [told]}
    await ended(store, now(child), at=2)
    assert await is_there(store, "Patient/annex")


async def test_a_patient_who_is_named_by_what_was_changed_meanwhile_stays(
    store: ResourceStore,
) -> None:
    await fill(store)
    found = await ended(store, now(observation("other", BO, "Bo is ill now"), 2))
    assert await is_there(store, "Observation/other")
    assert await is_there(store, BO)
    assert (found.counts()["Observation"], found.needed) == (2, {"Patient": 2})


async def test_a_provenance_stays_with_what_was_changed_meanwhile(store: ResourceStore) -> None:
    await fill(store)
    await ended(store, now(observation("o", "Patient/ann", "She is ill again"), 3))
    assert await is_there(store, "Observation/o")
    assert await is_there(store, "Provenance/of-o")
    assert not await is_there(store, "Provenance/of-both")


async def test_a_provenance_that_is_new_goes_with_what_it_is_about(store: ResourceStore) -> None:
    await fill(store)
    found = await ended(store, now(provenance("new", "Observation/o")))
    assert Key("Provenance", "new") in found.keys
    assert not await is_there(store, "Provenance/new")


async def test_what_becomes_anothers_during_an_erasure_stays(store: ResourceStore) -> None:
    await fill(store)
    corrected = now(observation("o", BO, "It was Bo's all the time"), 3)
    late: Any = Meanwhile(store, corrected, at=2)
    await erase(late, extract(), ORDERED)
    current = await store.get(Key("Observation", "o"))
    assert current is not None
    assert (current.version, current.is_deleted) == (3, False)


async def test_what_was_once_of_somebody_on_hold_is_not_erased_with_anothers_record(
    store: ResourceStore,
) -> None:
    await fill(store)
    # It was told of Ann first, and is Bo's now.
    await hold(store, Key("Patient", "bo"), "court order", b"{}")
    with pytest.raises(HeldForLaw, match="Patient/bo: court order"):
        await erase(store, extract(), ORDERED)
    assert await is_there(store, "Observation/o"), "nothing was begun"
    await release(store, Key("Patient", "bo"), b"{}")
    late: Any = Meanwhile(store, at=1)
    late.before = lambda: hold(store, Key("Patient", "bo"), "court order", b"{}")
    with pytest.raises(HeldForLaw):
        await erase(late, extract(), ORDERED)
    past = await store.history(Past(key=Key("Observation", "moved")))
    assert [each.version for each in past.versions] == [2, 1]


async def test_what_was_once_of_somebody_on_hold_outlasts_its_age(store: ResourceStore) -> None:
    await fill(store)
    await hold(store, Key("Patient", "ann"), "court order", b"{}")
    seen = await due(store, extract(), POLICY, LATER)
    found = await ended(store)
    assert seen.held == found.held == {"Appointment": 1, "Observation": 2, "Patient": 1}
    past = await store.history(Past(key=Key("Observation", "moved")))
    assert [each.version for each in past.versions] == [2, 1]
