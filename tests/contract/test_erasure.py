"""A patient's record erased, on both stores."""

import pytest

from fhir_server.rights.erasure import NothingHeld, Ordered, erase
from fhir_server.storage.port import Key, Past, ResourceStore
from tests.fhir_world import extract
from tests.rights_ward import LETTER, SECRET, fill
from tests.stores import START

ORDERED = Ordered(Key("Patient", "ann"), "legal-order", lambda key, version: b"{}", lambda: START)


async def test_every_version_is_gone_and_others_stay(store: ResourceStore) -> None:
    await fill(store)
    found = await erase(store, extract(), ORDERED)
    assert [str(key) for key in found.own][-1] == "Patient/ann"
    assert [str(key) for key in found.shared] == ["Appointment/both"]
    left = (await store.history(Past(limit=100))).versions
    assert not [each for each in left if SECRET.encode() in each.body or LETTER in each.body]
    assert {str(each.key) for each in left if not each.is_deleted} == {
        "Patient/annex",
        "Patient/bo",
        "Observation/other",
        "Observation/moved",
        "Appointment/both",
        "Provenance/of-both",
    }
    with pytest.raises(NothingHeld):
        await erase(store, extract(), ORDERED)
