"""What several sections of the specification are tested with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fhir_world import World, fhir_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A FHIR server with open access and an empty embedded store."""
    async with fhir_world(tmp_path) as running:
        yield running
