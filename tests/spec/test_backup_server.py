"""The whole service backed up while it is written to: by itself, and by command."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from bench.patients import bodies
from deploy.backups import source_of
from deploy.cli import app
from deploy.commands.operating import opened
from deploy.drill import drilled
from deploy.restoring import Wanted, filled
from fhir_server.app import knowledge
from fhir_server.audit.sealer import Sealer, signer_of
from fhir_server.backup.catalogue import catalogue
from fhir_server.backup.create import create
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import FolderTarget
from fhir_server.search.expression import HasTerm, Query
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import master_keys
from fhir_server.storage.port import Draft, Key
from fhir_server.system import utc_now
from tests.composed_world import Whole, observation, whole
from tests.fhir_world import JSON, fhir_world
from tests.stores import MASTER, place_of, put, version


async def write(service: Whole, ended: asyncio.Event) -> int:
    """Write until told to end; how many were acknowledged."""
    count = 0
    while not ended.is_set():
        answer = await service.send("POST", "/fhir/Observation", json=observation())
        assert answer.status_code == 201
        count += 1
    return count


async def medsage(*arguments: str) -> str:
    """A command in another thread, as another process would run it."""
    done = await asyncio.to_thread(CliRunner().invoke, app, ["backup", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_backups_of_a_server_that_writes_are_whole(tmp_path: Path) -> None:
    data, target, key = tmp_path / "data", str(tmp_path / "backups"), str(tmp_path / "key")
    sealed = ["--key-file", key]
    await medsage("key", key)
    settings = {"backup_target": target, "backup_key_file": key, "demo": "true"}
    async with whole(data, **settings) as service:
        ended = asyncio.Event()
        writing = asyncio.create_task(write(service, ended))
        while not list(Path(target).glob("*/manifest.json")):
            await asyncio.sleep(0.05)
        await medsage("create", "--data", str(data), "--to", target, *sealed)
        drill = await medsage("drill", "--data", str(data), "--from", target, *sealed, "--json")
        ended.set()
        written = await writing
        metrics = (await service.http.get("/api/metrics")).text
    found = json.loads(drill)
    assert found["equal"] is True
    assert found["compared"]["audit_blocks"] > 0
    assert found["compared"]["versions"] > 0
    assert "medsage_backup_last_success_timestamp_seconds" in metrics
    await medsage("create", "--data", str(data), "--to", target, *sealed)
    await medsage("restore", "--data", str(tmp_path / "new"), "--from", target, *sealed)
    async with opened(Settings(data=tmp_path / "new")) as restored:
        term = HasTerm("Observation.code", "8310-5\x1fhttp://loinc.org")
        assert await restored.count(Query("Observation", term)) >= written
        assert await restored.record("user", "dr.amina") is not None
        assert await restored.record("signing-keys", "current") is not None
    assert (tmp_path / "new/keys/secret").read_text() == (data / "keys/secret").read_text()


@pytest.mark.shared
async def test_a_drill_of_synthea_patients_finds_every_version_and_audit_block(
    tmp_path: Path,
) -> None:
    """A sample: `medsage backup drill` on the whole set is by hand."""
    sent = sorted(bodies(), key=len)[:3]
    settings = Settings(data=tmp_path / "data")
    async with opened(settings) as store:
        async with fhir_world(tmp_path, store=store, max_body_bytes=64 * 1024 * 1024) as world:
            for body in sent:
                answer = await world.http.post("", content=body, headers=JSON)
                assert answer.status_code == 200, answer.text[:500]
        extract = knowledge(settings.base_url).extract
        sealer = Sealer(store, extract, await signer_of(store), utc_now)
        while await sealer.seal_once():
            pass
    found = await drilled(settings, None, None)
    assert found["equal"] is True, found["differences"]
    assert found["compared"]["resources"] > 200
    assert found["compared"]["audit_blocks"] > 0
    assert found["compared"]["audit_events"] > 0


@pytest.mark.mongodb
async def test_mongodb_is_backed_up_and_restored_into_either_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    keys, target = SealKeys(master_keys([MASTER])), FolderTarget(tmp_path / "backups")
    async with place_of(request, "mongodb", tmp_path) as place:
        store = await place.store()
        await put(store, *(Draft(version(f"Patient/{n}")) for n in range(20)))
        uri, database = place.address
        settings = Settings(
            data=tmp_path / "data", mongodb_uri=SecretStr(uri), mongodb_database=database
        )
        found = await drilled(settings, None, None)
        assert found["equal"] is True
        assert found["compared"]["versions"] == 20
        async with opened(settings) as source:
            await create(source_of(settings, source), target, keys)
            await put(source, Draft(version("Patient/0", 2)), Draft(version("Patient/20")))
            await create(source_of(settings, source), target, keys)
        chain = (await catalogue(target, keys)).by_time()
        async with place_of(request, "mongodb", tmp_path) as empty:
            other = settings.model_copy(update={"mongodb_database": empty.address[1]})
            await filled(other, Wanted(target, chain))
            async with opened(other) as restored:
                changed = await restored.get(Key("Patient", "0"))
                assert changed is not None
                assert changed.version == 2
                assert await restored.count(Query("Patient")) == 21


def test_the_terms_of_the_restored_store_are_known() -> None:
    """The test above asks by a term as the index writes it."""
    terms = knowledge("http://localhost/fhir").extract(observation(id="x"))
    assert ("Observation.code", "8310-5\x1fhttp://loinc.org") in terms.terms
