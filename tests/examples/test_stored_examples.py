"""Published resources through the FHIR base onto both stores, and back as they were sent."""

import io
import json
import lzma
import random
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir import codec
from fhir_server.storage.port import ResourceStore
from tests.examples.conftest import ARCHIVE
from tests.examples.test_official_examples import KNOWN_BAD
from tests.fhir_world import World, fhir_world
from tests.stores import place, store

__all__ = ["place", "store"]

pytestmark = pytest.mark.shared
SYNTHEA = ARCHIVE.parents[1] / "data/synthea-105-small.tar.xz"
SAMPLE = 12
SEED = 20261124
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
    found = codec.parse((await world.get(written.headers["location"])).content)
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


async def test_synthea_patients_load_as_transactions_and_every_resource_counts(
    store: ResourceStore, tmp_path: Path
) -> None:
    bundles = _synthea()
    expected: Counter[str] = Counter()
    async with fhir_world(tmp_path, store=store, max_body_bytes=_LARGEST_BODY) as world:
        for body in bundles:
            expected.update(
                entry["resource"]["resourceType"] for entry in json.loads(body)["entry"]
            )
            answer = await world.post("/", body, prefer="return=minimal")
            assert answer.status_code == 200, answer.text[:500]
        found = {type_: await _total(world, type_) for type_ in expected}

    assert found == dict(expected)


async def _total(world: World, type_: str) -> int:
    answer = await world.get(f"/{type_}?_total=accurate&_count=0")
    total: int = answer.json()["total"]
    return total


def _synthea() -> list[bytes]:
    """A seeded sample of the patients, after the hospitals and practitioners they refer to."""
    if not SYNTHEA.exists():
        pytest.skip(f"not run: the Synthea set is not at {SYNTHEA}")
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(SYNTHEA.read_bytes()))) as archive:
        files = sorted((each for each in archive if each.isfile()), key=lambda each: each.name)
        first = [each for each in files if "Information" in each.name]
        patients = [each for each in files if each not in first and each.name.endswith(".json")]
        chosen = first + random.Random(SEED).sample(patients, SAMPLE)
        contents = [archive.extractfile(each) for each in chosen]
        return [content.read() for content in contents if content is not None]
