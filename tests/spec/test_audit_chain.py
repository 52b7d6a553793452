"""Sealing and verifying: nothing is lost, and every edit, gap and reordering is found."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit import sealer as sealer_module
from fhir_server.audit.chain import Head
from fhir_server.audit.export import export
from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.sealer import BLOCK_LIMIT, Sealer, signer_of
from fhir_server.audit.signing import BlockSigner, new_private_jwk, signer
from fhir_server.audit.verify import main, verify
from fhir_server.search.expression import HasTerm, Query
from fhir_server.search.extract import Extractor
from fhir_server.search.registry import Registry
from fhir_server.storage.port import Key, ResourceStore, Terms, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from tests.audit_world import BASE, DOCTOR

AT = datetime(2026, 11, 24, 2, 0, 0, 999999, tzinfo=UTC)
SIGNER = signer(new_private_jwk())


def now() -> datetime:
    return AT


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / "ward.db")
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(Registry(), BASE)


def new_id() -> str:
    return str(uuid.uuid4())


async def journal(store: ResourceStore, count: int, make_id: Callable[[], str] = new_id) -> None:
    trail = AuditTrail(DOCTOR, now, make_id, BASE, address="192.0.2.7")

    async def unit(transaction: Transaction) -> None:
        for number in range(count):
            key = Key("Observation", f"o{number}")
            entry = trail.entry(
                interaction="read", outcome="success", status=200, key=key, patient="kofi"
            )
            await transaction.journal(entry)

    await store.transaction(unit)


async def exported(store: ResourceStore, by: BlockSigner = SIGNER) -> list[bytes]:
    return [line async for line in export(store, by, now)]


@pytest.fixture
async def lines(store: SqliteStore, extractor: Extractor) -> list[bytes]:
    """An export of three blocks of three events: a key, three times four lines, the head."""
    sealer = Sealer(store, extractor, SIGNER, now)
    for _ in range(3):
        await journal(store, 3)
        assert await sealer.seal_once() == 3
    made = await exported(store)
    assert len(made) == 14
    return made


def kinds(lines: list[bytes], **more: object) -> list[tuple[str, int]]:
    found = verify(lines, SIGNER.public_jwk, **more).findings  # type: ignore[arg-type]
    return [(finding.kind, finding.line) for finding in found]


async def test_sealed_records_are_searchable_and_leave_the_journal(
    store: SqliteStore, extractor: Extractor
) -> None:
    await journal(store, 2)
    assert await Sealer(store, extractor, SIGNER, now).seal_once() == 2
    assert await store.journal(10) == []
    for param, value in [
        ("patient", "Patient/kofi"),
        ("agent", "Practitioner/dr-amina"),
        ("entity", "Observation/o1"),
    ]:
        found = await store.find(Query("AuditEvent", HasTerm(f"AuditEvent.{param}", value)))
        assert found.matches, param
        assert json.loads(found.matches[0].body)["resourceType"] == "AuditEvent"


async def test_an_untouched_trail_has_no_findings(lines: list[bytes]) -> None:
    report = verify(lines, SIGNER.public_jwk)
    assert report.findings == ()
    assert (report.blocks, report.events) == (3, 9)
    assert report.head is not None
    assert report.head.number == 3


async def test_an_edited_event_is_found(lines: list[bytes]) -> None:
    lines[6] = lines[6].replace(b"Dr Amina Diallo", b"Dr Anima Diallo")
    assert kinds(lines) == [("edit", 7)]


async def test_a_missing_event_is_found(lines: list[bytes]) -> None:
    del lines[6]
    assert kinds(lines) == [("gap", 9)]


async def test_swapped_events_are_found(lines: list[bytes]) -> None:
    lines[6], lines[7] = lines[7], lines[6]
    assert kinds(lines) == [("reordering", 8)]


async def test_an_inserted_event_is_found(lines: list[bytes]) -> None:
    event = json.loads(lines[6])
    event["id"] = "forged"
    lines.insert(7, json.dumps(event).encode())
    assert kinds(lines) == [("insertion", 8)]


async def test_a_repeated_event_is_found(lines: list[bytes]) -> None:
    lines.insert(7, lines[6])
    assert kinds(lines) == [("repeat", 8)]


async def test_an_edited_block_is_found(lines: list[bytes]) -> None:
    block = json.loads(lines[5])["block"]
    block["time"] = "2020-01-01T00:00:00.000Z"
    lines[5] = json.dumps({"block": block}).encode()
    assert kinds(lines) == [("edit", 6), ("edit", 10)]


async def test_a_missing_block_is_found(lines: list[bytes]) -> None:
    assert kinds(lines[:5] + lines[9:]) == [("gap", 6)]
    assert kinds(lines[:1] + lines[5:]) == [("gap", 2)]
    assert kinds(lines[:9] + lines[13:]) == [("gap", 10)]


async def test_swapped_blocks_are_found(lines: list[bytes]) -> None:
    swapped = lines[:1] + lines[5:9] + lines[1:5] + lines[9:]
    assert ("reordering", 6) in kinds(swapped)


async def test_a_file_cut_short_is_found(lines: list[bytes]) -> None:
    assert kinds(lines[:-1]) == [("gap", 13)]
    assert kinds(lines[:9]) == [("gap", 9)]


async def test_a_line_that_is_no_json_is_found(lines: list[bytes]) -> None:
    assert kinds([*lines[:1], b"{", *lines[1:]]) == [("edit", 2)]


async def test_a_chain_regrown_with_another_key_is_found(
    lines: list[bytes], store: SqliteStore
) -> None:
    other = signer(new_private_jwk())
    assert {kind for kind, _ in kinds(await exported(store, other))} == {"edit"}
    found = verify(lines, other.public_jwk).findings
    assert [finding.kind for finding in found] == ["signature"] * 3 + ["edit"]


async def test_a_known_head_must_still_be_in_the_chain(lines: list[bytes]) -> None:
    report = verify(lines[:9], SIGNER.public_jwk)
    assert report.head is not None
    assert kinds(lines, known=report.head) == []
    assert kinds(lines, known=Head(2, "0" * 64)) == [("gap", 14)]


async def test_an_export_may_begin_with_a_later_block(
    store: SqliteStore, lines: list[bytes]
) -> None:
    later = [line async for line in export(store, SIGNER, now, first=2)]
    assert kinds(later, first=2) == []
    assert kinds(later) == [("gap", 2)]


async def test_the_command_prints_findings_and_exits_with_1(
    lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, key = tmp_path / "trail.ndjson", tmp_path / "key.json"
    key.write_text(json.dumps(SIGNER.public_jwk))
    file.write_bytes(b"".join(lines))
    assert main([str(file), "--key", str(key)]) == 0
    assert "9 events in 3 blocks, 0 findings" in capsys.readouterr().out
    file.write_bytes(b"".join(lines[:6] + lines[7:]))
    assert main([str(file)]) == 1
    assert "line 9: gap: AuditEvent/" in capsys.readouterr().out
    assert main([str(tmp_path / "absent")]) == 2


class DiesBeforeCommit(Exception):
    pass


class DyingStore:
    """A store whose process dies at the end of a unit, before the commit."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def transaction(self, unit: object) -> None:
        async def dying(transaction: Transaction) -> None:
            await unit(transaction)  # type: ignore[operator]
            raise DiesBeforeCommit

        await self._store.transaction(dying)


async def test_a_sealer_that_dies_repeats_its_step(
    store: SqliteStore, extractor: Extractor
) -> None:
    await journal(store, 3)
    with pytest.raises(DiesBeforeCommit):
        await Sealer(DyingStore(store), extractor, SIGNER, now).seal_once()  # type: ignore[arg-type]
    assert len(await store.journal(10)) == 3
    assert await Sealer(store, extractor, SIGNER, now).seal_once() == 3
    report = verify(await exported(store), SIGNER.public_jwk)
    assert (report.findings, report.events) == ((), 3)


class LateStore(DyingStore):
    """A store on which another sealer is quicker."""

    def __init__(self, store: SqliteStore, other: Sealer) -> None:
        super().__init__(store)
        self._other = other

    async def transaction(self, unit: object) -> None:
        assert await self._other.seal_once() == 3
        await self._store.transaction(unit)  # type: ignore[arg-type]


async def test_of_two_sealers_one_wins_and_nothing_is_written_twice(
    store: SqliteStore, extractor: Extractor
) -> None:
    await journal(store, 3)
    quicker = Sealer(store, extractor, SIGNER, now)
    late = Sealer(LateStore(store, quicker), extractor, SIGNER, now)  # type: ignore[arg-type]
    assert await late.seal_once() == 0
    report = verify(await exported(store), SIGNER.public_jwk)
    assert (report.findings, report.events, report.blocks) == ((), 3, 1)


async def test_more_than_a_block_is_sealed_in_several(
    store: SqliteStore, extractor: Extractor
) -> None:
    await journal(store, BLOCK_LIMIT + 1)
    sealer = Sealer(store, extractor, SIGNER, now)
    assert [await sealer.seal_once() for _ in range(3)] == [BLOCK_LIMIT, 1, 0]


@pytest.mark.parametrize(
    ("seconds", "blocks"), [(0, [BLOCK_LIMIT, 20, 20, 10, 0]), (2, [BLOCK_LIMIT, 50, 0])]
)
async def test_blocks_are_short_while_records_keep_coming(
    store: SqliteStore, extractor: Extractor, seconds: int, blocks: list[int]
) -> None:
    await journal(store, 100)
    sealer = Sealer(store, extractor, SIGNER, lambda: AT + timedelta(seconds=seconds))
    assert [await sealer.seal_once() for _ in blocks] == blocks
    newest = await store.journal(1, newest_first=True)
    assert newest == []


async def test_a_repeated_record_id_stops_nothing(store: SqliteStore, extractor: Extractor) -> None:
    sealer = Sealer(store, extractor, SIGNER, now)
    for _ in range(2):
        await journal(store, 2, lambda: "same")
        assert await sealer.seal_once() == 2
    report = verify(await exported(store), SIGNER.public_jwk)
    assert (report.findings, report.events) == ((), 4)


async def test_a_record_that_cannot_be_read_is_sealed_as_a_failure(
    store: SqliteStore, extractor: Extractor
) -> None:
    await store.transaction(lambda transaction: transaction.journal(b"garbage"))
    assert await Sealer(store, extractor, SIGNER, now).seal_once() == 1
    assert verify(await exported(store), SIGNER.public_jwk).findings == ()


async def test_a_running_sealer_seals_within_a_second(
    store: SqliteStore, extractor: Extractor
) -> None:
    running = asyncio.create_task(Sealer(store, extractor, SIGNER, now).run())
    await asyncio.sleep(0)
    await journal(store, 1)
    async with asyncio.timeout(1):
        while not await store.count(Query("AuditEvent")):
            await asyncio.sleep(0.02)
    running.cancel()


async def test_a_running_sealer_outlives_a_failure(
    store: SqliteStore, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer_module, "FAILURE_SECONDS", 0.01)
    failures = iter([True])

    def failing_once(resource: dict[str, Any]) -> Terms:
        if next(failures, False):
            raise OSError("no space left")
        return extractor(resource)

    running = asyncio.create_task(Sealer(store, failing_once, SIGNER, now).run())
    await journal(store, 1)
    async with asyncio.timeout(5):
        while not await store.count(Query("AuditEvent")):
            await asyncio.sleep(0.02)
    running.cancel()


async def test_the_stores_own_key_is_made_once(store: SqliteStore) -> None:
    first, second = await signer_of(store), await signer_of(store)
    assert first.public_jwk == second.public_jwk
