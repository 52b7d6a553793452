"""Blocks of sealed AuditEvents, chained by hashes; pure.

A block lists the ids and hashes of its events in order and the hash of the block before it, and
is signed. An event names its block in `meta.tag`, so that an event put in later is noticed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fhir_server.audit.quoted import sealed_form
from fhir_server.audit.signing import BlockSigner
from fhir_server.fhir.assessment import CANONICAL

Resource = dict[str, Any]

BLOCK_TAG = f"{CANONICAL}/CodeSystem/audit-block"
GENESIS = "0" * 64
_BY_SERVER = ("versionId", "lastUpdated")


@dataclass(frozen=True)
class Head:
    """The end of the chain: number and hash of the last block."""

    number: int = 0
    hash: str = GENESIS


@dataclass(frozen=True)
class Block:
    """One signed block; `events` are (id, hash) in sealed order."""

    number: int
    previous: str
    time: str
    events: tuple[tuple[str, str], ...]
    key_id: str
    signature: str = ""

    def as_json(self) -> dict[str, Any]:
        return {**self._signed_part(), "signature": self.signature}

    def content(self) -> bytes:
        """What is signed."""
        return canonical(self._signed_part())

    @property
    def hash(self) -> str:
        """What the next block holds as `previous`."""
        return hashlib.sha256(canonical(self.as_json())).hexdigest()

    def _signed_part(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "previous": self.previous,
            "time": self.time,
            "events": [list(event) for event in self.events],
            "key_id": self.key_id,
        }


def block_of(value: Mapping[str, Any]) -> Block:
    """The block of its JSON; KeyError or TypeError when that is none."""
    return Block(
        number=int(value["number"]),
        previous=str(value["previous"]),
        time=str(value["time"]),
        events=tuple((str(id_), str(hash_)) for id_, hash_ in value["events"]),
        key_id=str(value["key_id"]),
        signature=str(value["signature"]),
    )


def next_block(head: Head, events: Sequence[Resource], time: str, signer: BlockSigner) -> Block:
    """The signed block of `events`, which already carry its number as tag."""
    hashes = tuple((event["id"], event_hash(event)) for event in events)
    block = Block(head.number + 1, head.hash, time, hashes, signer.key_id)
    signature = signer.sign(block.content())
    return Block(block.number, block.previous, time, hashes, signer.key_id, signature)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no white space, as UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def event_hash(event: Resource) -> str:
    """SHA-256 of an AuditEvent's canonical form, without what a server sets on storing it, and
    with the commitments to searches in the place of their texts."""
    meta = {name: value for name, value in event.get("meta", {}).items() if name not in _BY_SERVER}
    return hashlib.sha256(canonical(sealed_form({**event, "meta": meta}))).hexdigest()


def tagged(event: Resource, number: int) -> Resource:
    """The event with its block's number as a tag."""
    meta = dict(event.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), {"system": BLOCK_TAG, "code": str(number)}]
    return {**event, "meta": meta}


def block_number(event: Resource) -> int | None:
    """The number of the block that an event says it is in; None for an event that is in none."""
    for tag in event.get("meta", {}).get("tag", ()):
        if tag.get("system") == BLOCK_TAG and str(tag.get("code", "")).isdecimal():
            return int(tag["code"])
    return None
