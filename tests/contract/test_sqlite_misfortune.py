"""The embedded store's file can't take a write: the caller hears it, and nothing is half there."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fhir_server.search.expression import HasTerm, Query
from fhir_server.storage.port import Key
from fhir_server.storage.sqlite.store import SqliteStore
from tests.availability import ROOT
from tests.store_misfortune import LARGE, UNITS


async def suffered(kind: str, path: Path) -> dict[str, Any]:
    """What a process of its own saw."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store_misfortune", kind, str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found: dict[str, Any] = json.loads(output)
    return found


async def test_a_full_disk_refuses_whole_units_until_there_is_room_again(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"

    found = await suffered("full", path)

    assert found["acknowledged"]
    assert found["raised"] == {"StoreUnavailable": UNITS - len(found["acknowledged"])}
    assert found["again"] is None
    store = SqliteStore.open(path)
    expected = [*found["acknowledged"], UNITS]
    for number in range(UNITS + 1):
        for part in "ab":
            there = await store.get(Key("Patient", f"{number}-{part}"))
            assert (there is not None) == (number in expected)
    assert await store.count(Query("Patient", HasTerm("Patient.name", LARGE))) == 2 * len(expected)
    assert [int(each.entry) for each in await store.journal(UNITS * 2)] == expected
    await store.close()


async def test_a_read_only_file_is_not_opened(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("read-only")
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)

    found = await suffered("read-only", folder / "store.sqlite")

    assert found == {"first": None, "raised": "OperationalError"}
