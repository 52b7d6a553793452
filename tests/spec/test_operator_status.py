"""The operator's status: which processes there are, what waits and for how long, what ends soon;
and the page that shows it to admins alone."""

import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry, Gauge

from deploy.health import Readiness
from deploy.monitoring.backups import LATE_INTERVALS
from deploy.monitoring.certificates import Certificate, CertificateDates, certificates
from deploy.monitoring.observed import StoreObserver
from deploy.monitoring.parts import (
    BACKUP_INTERVAL_SERIES,
    BACKUP_SERIES,
    LAPSE_SECONDS,
    Beats,
    parts_of,
)
from deploy.monitoring.status import Board, disk_finding
from fhir_server.backup.create import Source, create
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.target import FolderTarget
from fhir_server.fhir.assessment import ASSESSMENT
from fhir_server.findings import Finding, Section, worst
from fhir_server.search.plan import Scope
from fhir_server.security.authorization.users import PasswordHash, User, register_user
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import master_keys
from fhir_server.storage.port import Record, StoreUnavailable
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.subscriptions.state import DELIVERY, NOT_TRIED
from fhir_server.system import utc_now
from tests.certificates import certificates as new_certificates
from tests.fhir_world import BASE, World, fhir_world, registry
from tests.smart_world import smart_world
from tests.stores import MASTER


@dataclass
class Watched:
    """A store that is watched, at a clock that tests move."""

    world: World
    board: Board
    store: SqliteStore
    problems: dict[str, Callable[[], Awaitable[object]]]
    metrics: CollectorRegistry
    shown: list[Certificate]
    app: list[int]

    def beats(self, role: str = "all", version: str = "1.0") -> Beats:
        clock = self.world.clock
        readiness = Readiness(self.problems, 0)
        return Beats(
            self.world.store, role, version, readiness, self.metrics, clock, started=clock.now
        )

    async def findings(self) -> dict[str, Finding]:
        """By what was looked at."""
        self.world.clock.now += timedelta(seconds=11)
        return {each.what: each for section in await self.board() for each in section.findings}

    async def telling(self, what: str) -> tuple[str, str]:
        """The state and words of what begins so."""
        found = await self.findings()
        each = next(finding for name, finding in found.items() if name.startswith(what))
        assert bool(each.to_do) == (each.state in ("failed", "warning")), each
        return each.state, each.found


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    app, shown = [200], [Certificate("public", None, "TimeoutError")]

    def answer(request: httpx.Request) -> httpx.Response:
        if not app:
            raise httpx.ConnectError("nobody there", request=request)
        return httpx.Response(app[-1])

    clocks: list[Callable[[], datetime]] = [utc_now]
    store = SqliteStore.open(tmp_path / "store.sqlite", lambda: clocks[-1]())
    async with (
        fhir_world(tmp_path, store=store) as world,
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http,
    ):
        clocks.append(world.clock)
        observer = StoreObserver(
            world.store, lambda: Scope(registry(), world.clock.now, BASE), world.clock
        )
        dates = CertificateDates(lambda: shown, lambda: world.clock.now.timestamp())
        settings = Settings(base_url="http://public.example", data=tmp_path)
        board = Board(world.store, observer, dates, http, settings)
        yield Watched(world, board, store, {}, CollectorRegistry(), shown, app)
    await store.close()


async def test_a_process_that_works_is_told_until_its_word_lapses(watched: Watched) -> None:
    beats = watched.beats()
    watched.world.clock.now += timedelta(hours=3)
    await beats.beat()
    assert await watched.telling("all on ") == ("ok", "version 1.0, for 3 hours")
    assert [part.role for part in await parts_of(watched.world.store)] == ["all"]
    watched.world.clock.now += timedelta(seconds=LAPSE_SECONDS)
    assert await watched.telling("server") == ("failed", "none has left word of itself")


async def test_a_worker_that_leaves_no_word_is_missed(watched: Watched) -> None:
    await watched.beats("server").beat()
    assert await watched.telling("worker") == ("failed", "none has left word of itself")
    await watched.beats("worker", "1.1").beat()
    found = await watched.findings()
    assert "worker" not in found
    assert (found["Versions"].state, found["Versions"].found) == ("warning", "1.0, 1.1")


async def test_a_part_of_a_process_that_does_not_work_is_named(watched: Watched) -> None:
    async def broken() -> None:
        raise OSError("no such host: patients.internal")

    watched.problems["redis"] = broken
    await watched.beats().beat()
    assert await watched.telling("all on ") == ("failed", "redis: OSError")


async def test_a_backup_that_is_known_grows_old(watched: Watched) -> None:
    assert await watched.telling("Last good backup") == ("warning", "none is known")
    made = Gauge(BACKUP_SERIES, "When", registry=watched.metrics)
    made.set(watched.world.clock.now.timestamp() - 7200)
    await watched.beats("worker").beat()
    assert await watched.telling("Last good backup") == ("ok", "2 hours ago")
    made.set(watched.world.clock.now.timestamp() - 4 * 3600)
    await watched.beats("worker").beat()
    assert await watched.telling("Last good backup") == ("failed", "4 hours ago")
    made.set(watched.world.clock.now.timestamp() + 4 * 3600)
    await watched.beats("worker").beat()
    state, found = await watched.telling("Last good backup")
    assert (state, "was the clock put back?" in found) == ("failed", True)


async def test_a_backup_that_no_process_made_counts(watched: Watched, tmp_path: Path) -> None:
    target, key = tmp_path / "backups", tmp_path / "key"
    key.write_text(MASTER)
    kept = {"backup_target": str(target), "backup_key_file": key}
    board, clock = watched.board, watched.world.clock
    watched.board = replace(board, settings=board.settings.model_copy(update=kept))
    assert await watched.telling("Last good backup") == ("warning", "none is known")
    source = Source(watched.store, lambda: (), BASE, clock)
    await create(source, FolderTarget(target), SealKeys(master_keys([MASTER])))
    clock.now += timedelta(hours=2)
    assert await watched.telling("Last good backup") == ("ok", "2 hours ago")
    key.unlink()
    state, found = await watched.telling("Last good backup")
    assert (state, found.startswith("none is known (the key file:")) == ("warning", True)


async def test_a_backup_is_late_by_the_interval_of_who_makes_it(watched: Watched) -> None:
    made = Gauge(BACKUP_SERIES, "When", registry=watched.metrics)
    made.set(watched.world.clock.now.timestamp() - 2 * 86400)
    Gauge(BACKUP_INTERVAL_SERIES, "How often", registry=watched.metrics).set(86400)
    await watched.beats("worker").beat()
    assert await watched.telling("Last good backup") == ("ok", "2 days ago")
    made.set(watched.world.clock.now.timestamp() - (LATE_INTERVALS + 1) * 86400)
    await watched.beats("worker").beat()
    assert await watched.telling("Last good backup") == ("failed", "4 days ago")


async def test_the_app_is_asked_where_browsers_find_it(watched: Watched) -> None:
    assert await watched.telling("The app") == ("ok", "answers at its public address")
    watched.app.append(502)
    assert (await watched.telling("The app"))[0] == "failed"
    watched.app.clear()
    state, words = await watched.telling("The app")
    assert (state, "ConnectError" in words) == ("unknown", True)


async def test_analyses_that_wait_are_counted_and_become_late(watched: Watched) -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    task |= {"code": {"coding": [ASSESSMENT]}}
    assert await watched.telling("Analyses, waiting") == ("ok", "none waits")
    for _ in range(2):
        await watched.world.create(task)
    await watched.world.create({**task, "status": "completed"})
    await watched.world.create({**task, "code": {"text": "another"}})
    state, words = await watched.telling("Analyses, waiting")
    assert (state, words.partition(",")[0]) == ("ok", "2")
    watched.world.clock.now += timedelta(minutes=6)
    state, words = await watched.telling("Analyses, waiting")
    assert (state, words) == ("warning", "2, the oldest for 6 minutes")


async def test_notifications_and_audit_records_become_late(watched: Watched) -> None:
    await watched.world.get("/Patient/none")
    since = watched.world.clock.now.timestamp()
    record = Record(DELIVERY, "s/1", {"since": since, **NOT_TRIED})
    older = Record(DELIVERY, "s/2", {**NOT_TRIED})
    for each in (record, older):
        await watched.world.store.transaction(lambda tx, each=each: tx.put_record(each))
    assert (await watched.telling("Notifications"))[0] == "ok"
    watched.world.clock.now += timedelta(minutes=20)
    assert await watched.telling("Notifications") == ("warning", "2, the oldest for 20 minutes")
    assert (await watched.telling("Records to be sealed"))[0] == "warning"


async def test_a_store_that_can_not_be_asked_is_all_that_is_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.findings()
    registry = CollectorRegistry()
    registry.register(watched.board.observer)
    assert registry.get_sample_value("medsage_audit_waiting") is not None

    async def away(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(type(watched.world.store), "history", away)
    found = await watched.findings()
    assert [(each.what, each.state) for each in found.values()] == [("Store", "failed")]
    assert registry.get_sample_value("medsage_store_observed") == 0
    assert registry.get_sample_value("medsage_audit_waiting") is None


@pytest.mark.parametrize(
    ("days", "state"), [(40, "ok"), (14, "ok"), (13, "warning"), (0, "failed"), (-3, "failed")]
)
async def test_a_certificate_that_ends_is_told_in_time(
    watched: Watched, days: int, state: str
) -> None:
    until = watched.world.clock.now + timedelta(days=days, seconds=30 if days > 0 else 0)
    watched.shown[:] = [Certificate("public", until)]
    assert (await watched.telling("Certificate (public)"))[0] == state


async def test_a_certificate_that_can_not_be_read_is_not_in_order(watched: Watched) -> None:
    found = await watched.findings()
    assert found["Certificate (public)"].state == "unknown"
    watched.shown[:] = []
    watched.world.clock.now += timedelta(hours=2)
    assert (await watched.findings())["Certificates"].state == "unknown"


def test_certificates_are_read_from_the_files_of_the_settings(tmp_path: Path) -> None:
    made, wrong = new_certificates(tmp_path), tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    given = {"tls_certificate_file": made.certificate, "tls_key_file": made.key}
    settings = Settings(_env_file=None, tls_ca_file=wrong, **given)  # type: ignore[call-arg, arg-type]
    serving, authority = certificates(settings)
    assert serving.not_after is not None
    assert (authority.not_after, authority.problem) == (None, "ValueError")


def test_the_certificate_at_the_public_address_is_looked_at(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, base_url="https://127.0.0.1:9")  # type: ignore[call-arg]
    (public,) = certificates(settings)
    assert (public.name, public.not_after) == ("public", None)
    assert public.problem == "ConnectionRefusedError"


def test_what_a_server_shows_is_read_without_being_believed(tmp_path: Path) -> None:
    made = new_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with context.wrap_socket(accepted, server_side=True) as secured:
                secured.recv(1)

        serving = threading.Thread(target=serve)
        serving.start()
        address = f"https://127.0.0.1:{listening.getsockname()[1]}"
        (public,) = certificates(Settings(_env_file=None, base_url=address))  # type: ignore[call-arg]
        serving.join()
    assert (
        public.not_after
        == x509.load_pem_x509_certificate(made.certificate.read_bytes()).not_valid_after_utc
    )


def test_a_disk_of_which_enough_is_free_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, state in ((11, "ok"), (9, "failed")):
        usage = type("Usage", (), {"free": free * 10**9, "total": 100 * 10**9})
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert disk_finding(tmp_path / "not yet made").state == state


def test_what_needs_somebody_decides_how_the_whole_is() -> None:
    states = ("ok", "unknown", "warning", "failed")
    findings = [Finding("x", state, "y") for state in states]
    assert [worst(findings[: number + 1]) for number in range(4)] == list(states)
    assert worst([]) == "ok"


async def test_admins_alone_see_the_page(tmp_path: Path) -> None:
    async def status() -> list[Section]:
        late = Finding("Notifications <1>", "warning", "2 wait", "See the runbook")
        return [Section("Deliveries", (late, Finding("Disk", "ok", "room")))]

    async with smart_world(tmp_path) as world:
        object.__setattr__(world.server, "status", status)
        record = await world.store.record("user", "dr.kofi")
        assert record is not None
        boss = User("boss", "The Boss", frozenset({"admin"}))
        hashed = PasswordHash(record.value["password"])
        await world.store.transaction(lambda tx: register_user(tx, boss, hashed))
        assert (await world.browser.get("/auth/admin/status")).status_code == 303
        await world.sign_in()
        assert (await world.browser.get("/auth/admin/status")).status_code == 403
        async with world.new_browser() as browser:
            await world.sign_in("boss", browser)
            page = await browser.get("/auth/admin/status")
    assert page.status_code == 200
    assert "Notifications &lt;1&gt;" in page.text
    assert page.text.index("See the runbook") < page.text.index("2 wait")
    assert 'aria-current="page">Status' in page.text
