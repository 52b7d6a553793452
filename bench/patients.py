"""The synthetic patients that benchmarks load: 105 transaction bundles made with Synthea."""

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid5

DEFAULT = Path(__file__).parents[2] / "shared/data/synthea-105-small.tar.xz"


@dataclass(frozen=True)
class Bundle:
    """One transaction as it is posted, and its resources as they are counted and stored."""

    body: bytes
    types: Counter[str]
    resources: tuple[bytes, ...]


_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def bundles(path: Path = DEFAULT, most: int | None = None) -> list[Bundle]:
    """The bundles of a tar archive or of a folder, by name; at most so many."""
    return [_bundle(body) for body in bodies(path)[:most]]


def copies(path: Path, number: int) -> Iterator[bytes]:
    """The files once more, so many times, as other patients: every UUID in them, identifiers
    too, is another one in each copy."""
    for copy in range(number):
        for body in bodies(path):
            yield _UUID.sub(partial(_other, str(copy)), body)


def _other(copy: str, found: re.Match[bytes]) -> bytes:
    return str(uuid5(UUID(found[0].decode()), copy)).encode()


def bodies(path: Path = DEFAULT) -> list[bytes]:
    """The files of the archive or folder as they are, by name."""
    if path.is_dir():
        return [file.read_bytes() for file in sorted(path.rglob("*.json"))]
    found: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                found[member.name] = content.read()
    return [found[name] for name in sorted(found)]


def _bundle(body: bytes) -> Bundle:
    resources = [entry["resource"] for entry in json.loads(body)["entry"]]
    return Bundle(
        body,
        Counter(each["resourceType"] for each in resources),
        tuple(json.dumps(each, separators=(",", ":")).encode() for each in resources),
    )
