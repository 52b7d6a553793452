"""The contract suite runs every test on both stores, with an ear on the wire."""

from collections.abc import Iterator

import pytest

from tests.mongo_commands import listen
from tests.stores import place, store

__all__ = ["place", "store"]


@pytest.fixture(autouse=True)
def _only_documented_commands() -> Iterator[None]:
    """Every test here fails that sends MongoDB something outside the adapter's table."""
    listener = listen()
    yield
    found, listener.outside = listener.outside, []
    assert not found, f"not in storage/mongo/commands.py: {sorted(set(found))}"
