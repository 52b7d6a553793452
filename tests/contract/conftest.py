"""The contract suite runs every test on both stores."""

from tests.stores import place, store

__all__ = ["place", "store"]
