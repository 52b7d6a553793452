"""A small store with the record of Ann, that of Bo, and what they share: for erasing Ann."""

import base64
from collections.abc import Sequence
from typing import Any

from fhir_server.fhir.codec import encode
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored
from tests.fhir_world import extract
from tests.stores import START, put

SECRET = "Her grandmother's remedy was of no help at all"
FORMER = "First thought to be an allergy to groundnuts"
LETTER = b"A letter that only she was to read"
BO = "Patient/bo"
Json = dict[str, Any]


def patient(id: str, family: str) -> Json:
    """A Patient of that family name."""
    return {"resourceType": "Patient", "id": id, "name": [{"family": family, "given": ["Ama"]}]}


def observation(id: str, about: str, words: str) -> Json:
    """An Observation about somebody, with a note."""
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "History of illness"},
        "subject": {"reference": about},
        "note": [{"text": words}],
    }


def appointment(id: str, *people: str) -> Json:
    """An Appointment of all these people."""
    return {
        "resourceType": "Appointment",
        "id": id,
        "status": "booked",
        "participant": [{"actor": {"reference": each}, "status": "accepted"} for each in people],
    }


def binary(id: str, about: str) -> Json:
    """The letter, as somebody's Binary."""
    return {
        "resourceType": "Binary",
        "id": id,
        "contentType": "text/plain",
        "securityContext": {"reference": about},
        "data": base64.b64encode(LETTER).decode(),
    }


def provenance(id: str, target: str) -> Json:
    """A Provenance of a resource."""
    return {
        "resourceType": "Provenance",
        "id": id,
        "target": [{"reference": target}],
        "recorded": "2026-11-24T08:00:00Z",
        "agent": [{"who": {"display": "Somebody who wrote this down"}}],
    }


RECORD: Sequence[tuple[Json, int]] = (
    (patient("ann", "Quartey-Boateng"), 1),
    (patient("annex", "Mensah-Ofori"), 1),
    (patient("bo", "Asante-Kwakye"), 1),
    (observation("o", "Patient/ann", FORMER), 1),
    (observation("o", "Patient/ann", SECRET), 2),
    (observation("other", BO, "Bo has never been ill so far"), 1),
    (observation("moved", "Patient/ann", FORMER), 1),
    (observation("moved", BO, "It was Bo who told of this"), 2),
    (binary("letter", "Patient/ann"), 1),
    (appointment("both", "Patient/ann", BO), 1),
    (provenance("of-o", "Observation/o"), 1),
    (provenance("of-both", "Appointment/both"), 1),
)


def drafted(resource: Json, version: int) -> Draft:
    """A version of a resource with its terms."""
    key = Key(resource["resourceType"], resource["id"])
    return Draft(Stored(key, version, START, encode(resource), "PUT"), extract()(resource))


async def fill(store: ResourceStore) -> None:
    """Write the ward, one Observation of Ann's deleted again."""
    await put(store, *(drafted(resource, version) for resource, version in RECORD))
    deleted = Stored(Key("Observation", "gone"), 2, START, b"", "DELETE")
    lost = observation("gone", "Patient/ann", "Deleted long ago, and yet in the history")
    await put(store, drafted(lost, 1), Draft(deleted))
