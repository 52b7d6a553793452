"""What is left where nobody looks: content that no record has, and what was written about somebody
after their erasure. Looked at alone; a person decides."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fhir_server.rights.contents import Contents, readings
from fhir_server.rights.erasure import ERASURE
from fhir_server.rights.extent import KEPT_TYPES, Told, every_version, silent
from fhir_server.security.restrictions import all_records
from fhir_server.storage.port import Key, ResourceStore, Stored

_PATIENT = re.compile(rb"Patient/([A-Za-z0-9\-.]{1,64})")


@dataclass(frozen=True)
class Leftovers:
    """Binaries without a security context here that nothing there has as its content; and, by the
    erased Patient, what was written since and is or names them."""

    unclaimed: tuple[Key, ...]
    written_since: dict[Key, tuple[Key, ...]]


async def leftovers(store: ResourceStore, told: Told = silent) -> Leftovers:
    """Read the whole store for them."""
    erased = {
        each.id: datetime.fromisoformat(each.value["time"])
        for each in await all_records(store, ERASURE)
    }
    contents = Contents()
    there: set[Key] = set()
    met: set[Key] = set()
    since: dict[Key, set[Key]] = {}
    async for stored in every_version(store, told=told):
        if stored.key in met or stored.key.type in KEPT_TYPES:
            continue
        met.add(stored.key)  # the newest version comes first
        if stored.is_deleted:
            continue
        there.add(stored.key)
        contents.note(stored)
        for id in _named(stored) & erased.keys():
            if stored.updated > erased[id]:
                since.setdefault(Key("Patient", id), set()).add(stored.key)
    return Leftovers(
        tuple(sorted(contents.had_by_none_of(there))),
        {patient: tuple(sorted(since[patient])) for patient in sorted(since)},
    )


def _named(stored: Stored) -> set[str]:
    """The ids of the Patients that it is or names."""
    own: Iterable[str] = [stored.key.id] if stored.key.type == "Patient" else []
    found = (id for body in readings(stored.body) for id in _PATIENT.findall(body))
    return {*own, *(id.decode() for id in found)}
