"""The manifest of a backup: what it is, what it goes on from, and the hash of each of its parts;
signed. It is written last: a backup without one does not exist. Nothing in it is about a patient.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from fhir_server.backup.problems import Altered, BackupFailed, WrongKey
from fhir_server.backup.seals import PartSeal, SealKeys
from fhir_server.storage.master_keys import KEY_BYTES
from fhir_server.storage.snapshot import Cut, lineage

FORMAT = 1
MANIFEST = "manifest.json"
BEGUN = "begun"
"""Lies there while a backup is being made, and after it was interrupted."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part as it lies at its place: its length and its SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Parent:
    """The backup that an incremental one goes on from, and the SHA-256 of its manifest."""

    backup: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One backup. `number` is one more than the highest at the target when it was begun: the order
    of backups, whatever a clock said. `store` is the identity of the store, `base_url` the address
    under which it is served; `cut` is its moment; `settled` how many versions lay below
    `cut.first_open`, `versions` how many up to the cut: where these have become fewer, some were
    erased since. `blocks` is the id of the last block of the audit trail; `counts` what the parts
    hold; making it took `seconds`."""

    backup: str
    store: str
    engine: str
    base_url: str
    cut: Cut
    settled: int
    versions: int
    blocks: str
    counts: Mapping[str, int]
    parts: tuple[Part, ...]
    seconds: float
    parent: Parent | None = None
    number: int = 0

    @property
    def lineage(self) -> str:
        """What all backups of the store have in common, also those before and after an erasure."""
        return lineage(self.store)

    @property
    def bytes(self) -> int:
        """The length of all parts."""
        return sum(part.bytes for part in self.parts)


@dataclass(frozen=True)
class Sealed:
    """A manifest that was read and believed: its hash, what opens the parts, and the `tail`, which
    names the last version before the cut and the hash of its body: a store that has it is the one
    that was backed up. It names a resource, so it is sealed with the key."""

    manifest: Manifest
    sha256: str
    seal: PartSeal
    tail: str

    @property
    def parent(self) -> Parent:
        """What a backup says that goes on from this one."""
        return Parent(self.manifest.backup, self.sha256)


def part_name(backup: str, number: int) -> str:
    """The name of a part at its target."""
    return f"{backup}/{_part(number)}"


def own_parts(manifest: Manifest) -> list[str]:
    """The names of its parts, within the backup."""
    return [_part(number) for number in range(len(manifest.parts))]


def _part(number: int) -> str:
    return f"part-{number:06d}"


def manifest_name(backup: str) -> str:
    """The name of the manifest at its target."""
    return f"{backup}/{MANIFEST}"


def written(manifest: Manifest, seal: PartSeal, tail: str, keys: SealKeys) -> bytes:
    """The manifest as it lies at its target."""
    content = {
        "format": FORMAT,
        **asdict(manifest),
        "cut": {**asdict(manifest.cut), "moment": manifest.cut.moment.isoformat()},
        "key": keys.current,
        "wrapped": keys.wrap(seal.key + tail.encode(), _bound(manifest.backup)),
    }
    content["signature"] = keys.sign(_signed(content))
    return json.dumps(content, indent=1).encode() + b"\n"


def read(backup: str, content: bytes, keys: SealKeys) -> Sealed:
    """The manifest that lies there as that of `backup`. Altered, WrongKey, or BackupFailed for one
    of a newer version of MedSAGE."""
    try:
        found = json.loads(content)
        name, signature = found["key"], found.pop("signature")
        is_newer = found["format"] != FORMAT
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Altered(f"{manifest_name(backup)} can't be read") from None
    if is_newer:
        raise BackupFailed(f"{backup} is of a format that this version does not know")
    try:
        keys.check(name, _signed(found), signature)
        if found["backup"] != backup:
            raise Altered(f"it is that of {found['backup']}")
        inside = keys.unwrap(name, found["wrapped"], _bound(backup))
        seal, tail = PartSeal(inside[:KEY_BYTES], backup), inside[KEY_BYTES:].decode()
        manifest = _manifest(found)
    except WrongKey as problem:
        raise WrongKey(f"{backup}: {problem}") from None
    except (Altered, KeyError, TypeError, ValueError) as problem:
        raise Altered(f"{manifest_name(backup)} was altered: {problem}") from None
    return Sealed(manifest, hashlib.sha256(content).hexdigest(), seal, tail)


def _manifest(found: Mapping[str, Any]) -> Manifest:
    cut, parent = found["cut"], found["parent"]
    return Manifest(
        backup=found["backup"],
        store=found["store"],
        engine=found["engine"],
        base_url=found["base_url"],
        cut=Cut(
            cut["place"], datetime.fromisoformat(cut["moment"]).astimezone(UTC), cut["first_open"]
        ),
        settled=found["settled"],
        versions=found["versions"],
        blocks=found["blocks"],
        counts=found["counts"],
        parts=tuple(Part(each["bytes"], each["sha256"]) for each in found["parts"]),
        seconds=found["seconds"],
        parent=None if parent is None else Parent(parent["backup"], parent["sha256"]),
        number=found.get("number", 0),  # earlier versions gave none
    )


def _signed(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return b"medsage backup manifest\x1f" + text.encode()


def _bound(backup: str) -> bytes:
    return f"medsage backup key\x1f{backup}".encode()
