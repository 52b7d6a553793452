"""Offline verifier of an exported audit trail.

    python -m fhir_server.audit.verify EXPORT.ndjson --key AUDIT_KEY.json

Reports every edit, gap, reordering and insertion with its line. Without `--key` the key in the
file is used, and its thumbprint is printed to be compared with one that was kept elsewhere.
`--head NUMBER:HASH`, kept from an earlier export, shows that the chain was not cut and regrown;
`--first NUMBER` is for an export that begins with a later block.
Exit status: 0 nothing found, 1 findings, 2 the file or key can't be read.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_server.audit.chain import Block, Head, block_number, block_of, event_hash
from fhir_server.audit.export import head_content
from fhir_server.audit.quoted import is_as_committed, is_redacted
from fhir_server.audit.signing import Jwk, is_signed, thumbprint

REDACTING = "redact"
"""The subtype of the records that say out of which events a search was taken."""


@dataclass(frozen=True)
class Finding:
    """Something wrong: `kind` is edit, gap, reordering, insertion, repeat or signature."""

    kind: str
    line: int
    text: str


@dataclass
class _Trail:
    """What has been read so far, and what is left to come."""

    key: Jwk | None
    known: Head | None
    first: int
    head: Head | None = None
    blocks: int = 0
    events: int = 0
    expected: dict[str, tuple[int, str]] = field(default_factory=dict)
    latest: int = -1
    seen: dict[str, int] = field(default_factory=dict)
    is_ended: bool = False
    has_known: bool = False
    redacted: dict[str, int] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    """The events of which a sealed record says that a search was taken out."""


@dataclass(frozen=True)
class Report:
    """The findings in file order, and what was looked at."""

    findings: tuple[Finding, ...]
    blocks: int
    events: int
    key_id: str | None
    head: Head | None
    redacted: int = 0
    """Events out of which a quoted search was taken, as at an erasure."""


def verify(
    lines: Iterable[bytes], key: Jwk | None = None, *, known: Head | None = None, first: int = 1
) -> Report:
    """Check an export's lines. `key` is the trusted public key (None: the one in the file),
    `known` a head seen earlier that must still be in the chain, `first` the first block."""
    trail = _Trail(key, known, first)
    findings: list[Finding] = []
    number = 0
    for number, line in enumerate(lines, 1):
        findings.extend(_line(trail, number, line))
    findings.extend(_missing(trail, number))
    findings.extend(_unsaid(trail))
    if not trail.is_ended:
        findings.append(Finding("gap", number, "the file ends without the signed head"))
    if known is not None and not trail.has_known:
        text = f"block {known.number} with the known hash is not in the chain"
        findings.append(Finding("gap", number, text))
    key_id = thumbprint(trail.key) if trail.key else None
    redacted = len(trail.redacted)
    return Report(tuple(findings), trail.blocks, trail.events, key_id, trail.head, redacted)


def _line(trail: _Trail, number: int, line: bytes) -> Iterator[Finding]:
    try:
        content = json.loads(line)
        if trail.is_ended:
            yield Finding("insertion", number, "a line after the signed head")
        elif "key" in content:
            trail.key = trail.key or content["key"]
        elif "block" in content:
            yield from _missing(trail, number)
            yield from _block(trail, number, block_of(content["block"]))
        elif "head" in content:
            yield from _missing(trail, number)
            yield from _head(trail, number, content["head"])
        else:
            yield from _event(trail, number, content)
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding("edit", number, "not a line of an audit export")


def _block(trail: _Trail, line: int, block: Block) -> Iterator[Finding]:
    name = f"block {block.number}"
    trail.blocks += 1
    yield from _place(trail, line, block)
    if trail.key is None or block.key_id != thumbprint(trail.key):
        yield Finding("signature", line, f"{name} is signed by another key, {block.key_id}")
    elif not is_signed(block.content(), block.signature, trail.key):
        yield Finding("edit", line, f"{name} is not what was signed")
    trail.head = Head(block.number, block.hash)
    before = Head(block.number - 1, block.previous)
    trail.has_known = trail.has_known or trail.known in (trail.head, before)
    trail.expected = {id_: (place, hash_) for place, (id_, hash_) in enumerate(block.events)}
    trail.latest = -1


def _place(trail: _Trail, line: int, block: Block) -> Iterator[Finding]:
    """Whether the block follows the one before it."""
    name = f"block {block.number}"
    before = trail.head or Head(trail.first - 1)
    is_anchored = trail.head is not None or trail.first == 1
    if block.number <= before.number:
        yield Finding("reordering", line, f"{name} comes after block {before.number}")
    elif block.number > before.number + 1:
        missing = f"blocks {before.number + 1} to {block.number - 1} are missing"
        yield Finding("gap", line, missing)
    elif is_anchored and block.previous != before.hash:
        yield Finding("edit", line, f"{name} does not follow the block before it as that is now")


def _event(trail: _Trail, line: int, event: dict[str, Any]) -> Iterator[Finding]:
    trail.events += 1
    id_ = str(event["id"])
    name = f"AuditEvent/{id_}"
    if id_ in trail.seen:
        yield Finding("repeat", line, f"{name} is also in line {trail.seen[id_]}")
        return
    trail.seen[id_] = line
    if id_ not in trail.expected:
        block = block_number(event)
        claim = f"says that it is in block {block}" if block else "is in no block"
        yield Finding("insertion", line, f"{name} was not sealed here; it {claim}")
        return
    place, expected_hash = trail.expected.pop(id_)
    if place < trail.latest:
        yield Finding("reordering", line, f"{name} comes after events that were sealed later")
    trail.latest = max(place, trail.latest)
    if event_hash(event) != expected_hash or not is_as_committed(event):
        yield Finding("edit", line, f"{name} is not what was sealed")
    if is_redacted(event):
        trail.redacted[name] = line
    if any(each.get("code") == REDACTING for each in event.get("subtype", ())):
        trail.said |= {
            str(each["what"]["reference"])
            for each in event["entity"]
            if "reference" in each.get("what", {})
        }


def _unsaid(trail: _Trail) -> Iterator[Finding]:
    """A search may be taken out, but not in silence."""
    for name, line in trail.redacted.items():
        if name not in trail.said:
            text = f"a search was taken out of {name}, and no sealed record says so"
            yield Finding("edit", line, text)


def _missing(trail: _Trail, line: int) -> Iterator[Finding]:
    """The events of the block so far that did not come."""
    number = trail.head.number if trail.head else 0
    for id_ in trail.expected:
        yield Finding("gap", line, f"AuditEvent/{id_} of block {number} is missing")
    trail.expected = {}


def _head(trail: _Trail, line: int, content: dict[str, Any]) -> Iterator[Finding]:
    trail.is_ended = True
    head = Head(int(content["number"]), str(content["hash"]))
    signed = head_content(head, str(content["time"]))
    if trail.key is None or not is_signed(signed, str(content["signature"]), trail.key):
        yield Finding("edit", line, "the head of the chain is not what was signed")
    found = trail.head or Head()
    if head.number > found.number:
        yield Finding("gap", line, f"blocks {found.number + 1} to {head.number} are missing")
    elif head != found:
        yield Finding("edit", line, f"the chain ends in block {found.number}, not as signed")


def main(arguments: list[str] | None = None) -> int:
    """Verify the file named on the command line and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m fhir_server.audit.verify", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", type=Path, help="file with the trusted public JWK")
    parser.add_argument("--head", help="NUMBER:HASH of a head seen earlier")
    parser.add_argument("--first", type=int, default=1, help="number of the first block")
    options = parser.parse_args(arguments)
    try:
        key = json.loads(options.key.read_bytes()) if options.key else None
        number, _, digest = (options.head or "").partition(":")
        known = Head(int(number), digest) if options.head else None
        with options.file.open("rb") as lines:
            report = verify(lines, key, known=known, first=options.first)
    except (OSError, ValueError, KeyError) as failure:
        print(f"cannot verify: {failure}", file=sys.stderr)
        return 2
    for finding in report.findings:
        print(f"line {finding.line}: {finding.kind}: {finding.text}")
    head = f"{report.head.number}:{report.head.hash}" if report.head else "none"
    print(f"{report.events} events in {report.blocks} blocks, {len(report.findings)} findings")
    if report.redacted:
        print(f"{report.redacted} events without a search that was taken out of them")
    print(f"head {head}\nkey {report.key_id}{'' if options.key else ' (from the file itself)'}")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
