"""What names what: the references in a resource, wherever in it they stand."""

import re
from collections.abc import Set
from functools import lru_cache

from fhir_server.rights.contents import readings
from fhir_server.rights.extent import BATCH, KEPT_TYPES, Extent
from fhir_server.storage.port import Key, ResourceStore, Stored


def cited_by(stored: Stored, types: Set[str]) -> frozenset[Key]:
    """The resources of these types that a version names anywhere. The audit trail and a
    Provenance are there to name what is gone too, and count for nothing."""
    if stored.key.type in KEPT_TYPES or stored.key.type == "Provenance":
        return frozenset()
    naming = _reference_to(frozenset(types))
    pairs = {pair for body in readings(stored.body) for pair in naming.findall(body)}
    return frozenset(Key(type.decode(), id.decode()) for type, id in pairs) - {stored.key}


@lru_cache(maxsize=8)
def _reference_to(types: frozenset[str]) -> re.Pattern[bytes]:
    any_type = "|".join(sorted(types)).encode()
    return re.compile(rb"\b(" + any_type + rb")/([A-Za-z0-9\-.]{1,64})")


async def citing(store: ResourceStore, extent: Extent) -> tuple[Key, ...]:
    """What stays, names something of the record, and is no part of the extent: it says nothing of
    the patient, and may yet hold words about them."""
    gone = frozenset(extent.own)
    types = {key.type for key in gone}
    told = {*gone, *extent.former, *extent.shared, *extent.naming}
    found: list[Key] = []
    after: Key | None = None
    while gone and (batch := await store.current(after, BATCH)):
        others = [each for each in batch if each.key not in told]
        found += [each.key for each in others if cited_by(each, types) & gone]
        after = batch[-1].key
    return tuple(found)
