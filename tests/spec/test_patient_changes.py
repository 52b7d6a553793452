"""What was changed in a patient's record, when and by whom (GDPR article 16)."""

from pathlib import Path

from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.sealer import Sealer
from fhir_server.audit.signing import new_private_jwk, signer
from fhir_server.rights.changes import changes_of
from fhir_server.storage.port import Draft, Key, Stored
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id
from tests.audit_world import BASE, DOCTOR
from tests.fhir_world import extract
from tests.rights_ward import BO, FORMER, SECRET, drafted, fill, observation
from tests.stores import START, Clock, put


async def test_each_change_names_its_place_and_its_author_and_nothing_of_others(
    tmp_path: Path,
) -> None:
    store = SqliteStore.open(tmp_path / "medsage.sqlite")
    await fill(store)
    came, back = Key("Observation", "came"), Key("Observation", "back")
    bos = "What was once said of Bo alone"
    await put(store, drafted(observation("came", BO, bos), 1))
    await put(store, drafted(observation("came", "Patient/ann", SECRET), 2))
    await put(store, drafted(observation("back", "Patient/ann", FORMER), 1))
    await put(store, Draft(Stored(back, 2, START, b"", "DELETE")))
    await put(store, drafted(observation("back", "Patient/ann", SECRET), 3))
    corrected = Key("Observation", "o")
    clock = Clock()
    trail = AuditTrail(DOCTOR, clock, new_id, BASE)
    for key, version in ((corrected, 2), (came, 1)):
        entry = trail.entry(
            interaction="update", outcome="success", status=200, key=key, version=version
        )
        await store.note(entry)
    await Sealer(store, extract(), signer(new_private_jwk()), clock).seal_once()
    found = await changes_of(store, extract(), Key("Patient", "ann"), [corrected, came, back])
    await store.close()
    told = {(each.key.id, each.version): (each.how, each.by) for each in found}
    assert told == {
        ("back", 1): ("created", ()),
        ("back", 2): ("deleted", ()),
        ("back", 3): ("created again", ()),
        ("came", 2): ("taken in", ()),
        ("o", 1): ("created", ()),
        ("o", 2): ("changed", ("Dr Amina Diallo",)),
    }
    ((difference,),) = [each.differences for each in found if each.how == "changed"]
    assert (difference.path, difference.before) == ("Observation.note[0].text", FORMER)
    assert bos not in str([each.as_json() for each in found])
