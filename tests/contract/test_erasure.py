"""A patient's record erased, on both stores."""

import base64

import pytest

from fhir_server.rights.erasure import NothingHeld, Ordered, erase
from fhir_server.rights.extent import extent_of
from fhir_server.rights.proof import prove, traces
from fhir_server.security.rule_state import change
from fhir_server.security.rulebook import Rulebook
from fhir_server.storage.port import Draft, Key, Past, ResourceStore
from tests.consent_world import consent, deny
from tests.fhir_world import extract
from tests.rights_ward import LETTER, SECRET, drafted, fill, observation, provenance
from tests.stores import START, put, version

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


async def test_nothing_that_the_store_answers_says_it_any_more(store: ResourceStore) -> None:
    await fill(store)
    texts = await traces(store, await extent_of(store, extract(), ORDERED.patient))
    assert {SECRET, "Quartey-Boateng"} <= texts
    before = await prove(store, [], texts)
    await erase(store, extract(), ORDERED)
    after = await prove(store, [], texts)
    assert before.left_over == texts
    assert (after.looked_for, after.left_over, after.audit) == (len(texts), set(), set())


def content(id: str, **more: object) -> Draft:
    """A Binary with the letter, of nobody's unless `more` says whose."""
    kind = {"contentType": "text/plain", "data": base64.b64encode(LETTER).decode()}
    return drafted({"resourceType": "Binary", "id": id, **kind, **more}, 1)


def document(id: str, about: str, *binaries: str) -> Draft:
    """A DocumentReference of somebody with these Binaries as its content."""
    made = [
        {"attachment": {"url": f"https://fhir.example/fhir/Binary/{each}"}} for each in binaries
    ]
    resource = {"resourceType": "DocumentReference", "id": id, "status": "current", "content": made}
    return drafted({**resource, "subject": {"reference": about}}, 1)


async def test_the_content_of_an_attachment_goes_with_it_unless_others_have_it(
    store: ResourceStore,
) -> None:
    await fill(store)
    context = {"reference": "DocumentReference/d"}
    await put(store, *map(content, ("scan", "leaflet", "unheard-of")))
    await put(store, content("sheet", securityContext=context))
    await put(store, content("bos", securityContext={"reference": "Patient/bo"}))
    await put(store, document("d", "Patient/ann", "scan", "leaflet", "bos", "nowhere"))
    await put(store, document("e", "Patient/bo", "leaflet"))
    found = await erase(store, extract(), ORDERED)
    kept = [str(each) for each in found.shared]
    assert kept == ["Appointment/both", "Binary/bos", "Binary/leaflet"]
    gone = {each.id for each in found.own if each.type == "Binary"}
    assert gone == {"letter", "scan", "sheet"}
    for id in ("scan", "sheet", "leaflet", "bos", "unheard-of"):
        now = await store.get(Key("Binary", id))
        assert now is not None
        assert now.is_deleted == (id in gone), id


async def test_of_a_deleted_resource_its_last_content_decides_whose_it_was(
    store: ResourceStore,
) -> None:
    await fill(store)
    passed = [observation("passed", about, SECRET) for about in ("Patient/ann", "Patient/bo")]
    gone = Draft(version("Observation/passed", 3, method="DELETE"))
    await put(store, *(drafted(each, number) for number, each in enumerate(passed, 1)), gone)
    found = await erase(store, extract(), ORDERED)
    key = Key("Observation", "passed")
    assert key in found.former
    assert key not in found.own
    assert [each.version for each in (await store.history(Past(key=key))).versions] == [3]


async def test_a_provenance_that_is_about_anothers_now_stays(store: ResourceStore) -> None:
    await fill(store)
    targets = ("Observation/o", "Observation/other")
    passed = [provenance("passed", target) for target in targets]
    await put(store, *(drafted(each, number) for number, each in enumerate(passed, 1)))
    await erase(store, extract(), ORDERED)
    current = await store.get(Key("Provenance", "passed"))
    assert current is not None
    assert (current.version, current.is_deleted) == (2, False)


async def test_what_an_erased_consent_said_ends_for_every_process_at_once(
    store: ResourceStore,
) -> None:
    await fill(store)
    said = consent("ann", provision=deny()) | {"id": "said"}
    await put(store, drafted(said, 1))
    await store.transaction(lambda unit: change(unit, consents=["said"]))
    rulebook = Rulebook(store, lambda: START)
    assert len((await rulebook.rules()).directives) == 1
    await erase(store, extract(), ORDERED)
    assert (await rulebook.rules()).directives == ()
