"""The order of backups of which some have no number: an earlier version made them."""

from datetime import UTC, datetime, timedelta

import pytest

from fhir_server.backup.catalogue import Catalogue
from fhir_server.backup.manifest import Manifest, Parent, Sealed
from fhir_server.backup.seals import PartSeal
from fhir_server.storage.snapshot import Cut

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
WITHOUT = 0


def made(name: str, number: int, minutes: int, after: str | None = None) -> Sealed:
    """A backup of so many minutes after noon, and what it goes on from."""
    manifest = Manifest(
        backup=name, store="store", engine="sqlite", base_url="https://x.example",
        cut=Cut(1, NOON + timedelta(minutes=minutes), 1), settled=1, versions=1, blocks="",
        counts={}, parts=(), seconds=1.0, number=number,
        parent=None if after is None else Parent(after, f"hash of {after}"),
    )  # fmt: skip
    return Sealed(manifest, f"hash of {name}", PartSeal(bytes(32), name), "")


HISTORIES = {
    "numbers count, and no clock": [
        made("full", 1, 60), made("back", 2, 0, "full"), made("on", 3, 5, "back"),
    ],
    "all are of before there were numbers": [
        made("z", WITHOUT, 0), made("y", WITHOUT, 5, "z"), made("x", WITHOUT, 9),
    ],
    "gone back to the earlier version and up again": [
        made("full", 1, 0), made("more", 2, 10, "full"), made("earlier", WITHOUT, 20, "more"),
        made("earlier still", WITHOUT, 30, "earlier"), made("up", 3, 40, "earlier still"),
    ],
    "the earlier version is in use, and made a full one": [
        made("full", 7, 0), made("more", 8, 10, "full"), made("another full", WITHOUT, 20),
        made("its next", WITHOUT, 30, "another full"),
    ],
    "upgraded, and the clock put back at the same time": [
        made("full", WITHOUT, 60), made("more", WITHOUT, 70, "full"), made("up", 1, 0, "more"),
        made("on", 2, 5, "up"),
    ],
    "the earlier version's clock was behind": [
        made("full", 5, 60), made("earlier", WITHOUT, 10, "full"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_backups_are_in_the_order_in_which_they_were_made(history: list[Sealed]) -> None:
    shuffled = {each.manifest.backup: each for each in sorted(history, key=lambda one: one.sha256)}
    found = Catalogue(shuffled, [], [])
    assert found.by_time() == history
    assert found.newest() is history[-1]
