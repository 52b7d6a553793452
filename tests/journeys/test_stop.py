"""The ordinary end of a process, and the start after it."""

import asyncio
import signal
import sqlite3
import time
from pathlib import Path

import httpx
import pytest

from bench.kill.clients import submission_number
from bench.kill.processes import STOP_SECONDS, Installation, installation
from deploy.demo.loading import demo_fhir
from models.fhir_client import FhirClient

pytestmark = pytest.mark.slow


async def started(folder: Path) -> Installation:
    service = installation(folder, ("all",))
    (process,) = service.services
    process.start()
    await process.ready()
    return service


async def ended(fhir: FhirClient, task: str) -> str:
    async with asyncio.timeout(120):
        while True:
            status = str((await fhir.read(f"Task/{task}"))["status"])
            if status not in ("requested", "in-progress"):
                return status
            await asyncio.sleep(0.1)


async def test_a_stop_in_the_middle_loses_no_task_and_the_next_start_keeps_all(
    tmp_path: Path,
) -> None:
    service = await started(tmp_path)
    (process,) = service.services
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        fhir = demo_fhir(http, service.origin)
        answers = [await fhir.transaction(submission_number(n).bundle) for n in range(0, 10, 2)]
        tasks = [answer["entry"][-1]["resource"]["id"] for answer in answers]
        began = time.monotonic()
        assert await asyncio.to_thread(process.stop) == 0
        assert time.monotonic() - began < STOP_SECONDS
    with sqlite3.connect(tmp_path / "data" / "medsage.sqlite") as kept:
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    process.start()
    await process.ready()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        fhir = demo_fhir(http, service.origin)
        assert [await ended(fhir, task) for task in tasks] == ["completed"] * len(tasks)
        reports = [each async for each in fhir.search("DiagnosticReport", {"_count": "100"})]
        assert len(reports) == len(tasks)
    assert await asyncio.to_thread(process.stop) == 0


async def test_an_answer_that_never_ends_does_not_hold_up_the_end(tmp_path: Path) -> None:
    service = await started(tmp_path)
    (process,) = service.services
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
    await writer.drain()
    began = time.monotonic()
    assert process.process is not None
    process.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.process.wait, STOP_SECONDS) == 0
    assert time.monotonic() - began < STOP_SECONDS
    writer.close()
    del reader
