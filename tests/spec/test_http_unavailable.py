"""A store that can't be reached: 503 with Retry-After, and nothing of why; a full one: 507."""

from pathlib import Path
from typing import NoReturn

from fhir_server.storage.port import StoreFull, StoreUnavailable
from tests.fhir_world import PATIENT, fhir_world, issues


async def _unreachable(*_: object) -> NoReturn:
    raise StoreUnavailable("ServerSelectionTimeoutError")


async def test_a_store_that_cannot_be_reached_is_503_with_retry_after(tmp_path: Path) -> None:
    async with fhir_world(tmp_path) as world:
        world.store.transaction = _unreachable  # type: ignore[method-assign]
        world.store.get = _unreachable  # type: ignore[method-assign]

        for response in (await world.get("/Patient/1"), await world.post("/Patient", PATIENT)):
            assert response.status_code == 503
            assert response.headers["retry-after"] == "5"
            assert issues(response)[0]["code"] == "transient"
            assert "ServerSelection" not in response.text


async def _full(*_: object) -> NoReturn:
    raise StoreFull("SQLITE_FULL")


async def test_a_write_that_there_is_no_room_for_is_507(tmp_path: Path) -> None:
    async with fhir_world(tmp_path) as world:
        world.store.transaction = _full  # type: ignore[method-assign]

        response = await world.post("/Patient", PATIENT)

        assert (response.status_code, response.headers["retry-after"]) == (507, "60")
        assert issues(response)[0]["code"] == "no-store"
        assert "SQLITE" not in response.text
