"""The whole service on an encrypted store: it answers as ever, and its files tell nothing of what
people wrote."""

import asyncio
from pathlib import Path

from fhir_server.storage.master_keys import new_master_key
from tests.composed_world import observation, whole

SAID = "she told nobody but her doctor"


async def test_nothing_that_was_written_lies_in_the_files(tmp_path: Path) -> None:
    key_file = tmp_path / "master"
    key_file.write_text(new_master_key())
    data = tmp_path / "data"
    async with whole(data, demo="true", encryption_key_file=str(key_file)) as service:
        noted = observation(note=[{"text": SAID}])
        once = {"Idempotency-Key": "a-key-of-the-callers-own"}
        made = await service.send("POST", "/fhir/Observation", json=noted, headers=once)
        again = await service.send("POST", "/fhir/Observation", json=noted, headers=once)
        assert made.status_code == again.status_code == 201
        assert made.content == again.content
        found = await service.send("GET", "/fhir/Observation", params={"code": "8310-5"})
        assert SAID in found.text
        later = await service.send(
            "GET", "/fhir/Observation?code=8310-5", headers={"Prefer": "respond-async"}
        )
        status = later.headers["content-location"].removeprefix("http://localhost:5000")
        while (answer := await service.send("GET", status)).status_code == 202:
            await asyncio.sleep(0.05)
        assert SAID in answer.text
        asked = {"X-Request-Id": "asked-for-by-name"}
        await service.send("GET", "/fhir/Observation", params={"note": SAID}, headers=asked)
    files = b"".join(path.read_bytes() for path in data.glob("medsage.sqlite*"))
    assert b"8310-5" in files, "terms are visible"
    assert SAID.encode() not in files
    assert b"resourceType" not in files
