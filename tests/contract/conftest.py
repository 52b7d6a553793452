"""The contract suite runs every test on both stores, with an ear on the wire; what writes and
reads content, also on both stores encrypted."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.mongo_commands import listen
from tests.stores import BOTH, BOTH_WAYS, Place, place_of, store

__all__ = ["store"]

SEALED_TOO = ("_changes", "_history", "_records", "_units", "_versions")
"""Where content goes in or comes out; what is only searched for is the same either way."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The kinds of place that a test runs on."""
    if "place" in metafunc.fixturenames:
        is_sealed_too = metafunc.module.__name__.endswith(SEALED_TOO)
        metafunc.parametrize("place", BOTH_WAYS if is_sealed_too else BOTH, indirect=True)


@pytest.fixture
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """An empty place of each kind in turn."""
    async with place_of(request, request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _only_documented_commands() -> Iterator[None]:
    """Every test here fails that sends MongoDB something outside the adapter's table."""
    listener = listen()
    yield
    found, listener.outside = listener.outside, []
    assert not found, f"not in storage/mongo/commands.py: {sorted(set(found))}"
