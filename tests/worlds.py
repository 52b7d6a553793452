"""FHIR servers on both stores in turn, for what must mean the same on each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fhir_world import World, fhir_world
from tests.stores import BOTH, place_of


@asynccontextmanager
async def world_on(
    request: pytest.FixtureRequest, kind: str, folder: Path, **changes: Any
) -> AsyncIterator[World]:
    """A server over an empty store of this kind."""
    async with (
        place_of(request, kind, folder) as place,
        fhir_world(folder, store=await place.store(), **changes) as running,
    ):
        yield running


@pytest.fixture(params=BOTH)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A server over each store in turn."""
    async with world_on(request, request.param, tmp_path) as running:
        yield running


@pytest.fixture(params=BOTH)
async def deleting_three(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The same, where one deletion by criteria may delete three resources."""
    async with world_on(request, request.param, tmp_path, deletes_at_once=3) as running:
        yield running
