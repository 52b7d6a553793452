"""The official examples through the FHIR base onto both stores, and back as they were sent."""

from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir import codec
from fhir_server.storage.port import ResourceStore
from tests.examples.test_official_examples import KNOWN_BAD
from tests.fhir_world import World, fhir_world
from tests.stores import place, store

__all__ = ["place", "store"]

pytestmark = pytest.mark.shared
_LARGEST_BODY = 64 * 1024 * 1024


async def test_official_examples_are_stored_read_back_equal_and_found_by_id(
    examples: dict[str, bytes], store: ResourceStore, tmp_path: Path
) -> None:
    wrong = {}
    async with fhir_world(tmp_path, store=store, max_body_bytes=_LARGEST_BODY) as world:
        for name, body in examples.items():
            if name not in KNOWN_BAD and (problem := await _round_trip(world, body)):
                wrong[name] = problem

    assert wrong == {}


async def _round_trip(world: World, body: bytes) -> str | None:
    """What went wrong with one example; None when it came back as it was sent."""
    sent = codec.parse(body)
    type_, id_ = sent["resourceType"], sent.get("id")
    if id_ is None:
        written = await world.post(f"/{type_}", body)
    else:
        written = await world.put(f"/{type_}/{id_}", body)
    if written.status_code not in (200, 201):
        return written.text[:500]
    found = codec.parse(
        (await world.get(written.headers["location"], Accept="application/fhir+json")).content
    )
    if repr(_content(found)) != repr(_content({**sent, "id": found["id"]})):
        return "read back with another content"
    matches = (await world.get(f"/{type_}?_id={found['id']}")).json().get("entry", [])
    ids = [entry["resource"]["id"] for entry in matches]
    return None if ids == [found["id"]] else f"_id={found['id']} finds {ids}"


def _content(resource: dict[str, Any]) -> list[tuple[str, Any]]:
    """Everything but what the server says of its version; repr tells 1.50 from 1.5."""
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name not in ("versionId", "lastUpdated")
    }
    members = {**resource, "meta": meta}
    return sorted((name, value) for name, value in members.items() if value != {})
