"""What must not start, and what a started process says about itself."""

import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.storage.sqlite.store import SqliteStore
from tests.composed_world import whole

PRODUCTION = {
    "MEDSAGE_PROFILE": "prod",
    "MEDSAGE_DEMO": "false",
    "MEDSAGE_BASE_URL": "https://medsage.example",
}


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("MEDSAGE_")]:
        monkeypatch.delenv(name)


def refused(arguments: list[str], settings: dict[str, str]) -> tuple[int, str]:
    """Exit code and stderr of a `medsage serve` that must not start."""
    done = CliRunner().invoke(app, ["serve", "--port", "0", *arguments], env=settings)
    return done.exit_code, done.stderr


def test_a_misspelt_setting_stops_the_start_and_the_nearest_is_named() -> None:
    code, said = refused([], {"MEDSAGE_BASE_ULR": "http://localhost:5000"})
    assert code == 2
    assert "MEDSAGE_BASE_ULR" in said
    assert "MEDSAGE_BASE_URL" in said


def test_a_value_that_can_not_be_used_stops_the_start() -> None:
    code, said = refused([], {"MEDSAGE_WORKER_CONCURRENCY": "many"})
    assert code == 2
    assert "MEDSAGE_WORKER_CONCURRENCY" in said
    assert "many" not in said


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        (["--open-access"], {}, "MEDSAGE_OPEN_ACCESS"),
        ([], {"MEDSAGE_OPEN_ACCESS": "true"}, "MEDSAGE_OPEN_ACCESS"),
        ([], {"MEDSAGE_DEMO": "true"}, "MEDSAGE_DEMO"),
        ([], {"MEDSAGE_BASE_URL": "http://medsage.example"}, "MEDSAGE_BASE_URL"),
        ([], {}, "MEDSAGE_SECRET_KEY"),
        ([], {"MEDSAGE_SECRET_KEY": "short"}, "32 bytes"),
        ([], {"MEDSAGE_SECRET_KEY": "k" * 32}, "MEDSAGE_APP_KEY"),
    ],
)
def test_production_refuses_what_is_for_development(
    arguments: list[str], settings: dict[str, str], named: str
) -> None:
    code, said = refused(arguments, PRODUCTION | settings)
    assert code == 2
    assert named in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"MEDSAGE_SECOND_FACTOR_ROLES": "admin,root"}, "unknown roles: root"),
        ({"MEDSAGE_BROKEN_PASSWORDS": "nowhere.txt"}, "nowhere.txt can't be read"),
        ({"MEDSAGE_OPENID_PROVIDERS": "{secret"}, "must be a JSON list"),
        ({"MEDSAGE_PASSWORD_LENGTH": "6"}, "greater than or equal to 12"),
    ],
)
def test_rules_for_people_that_can_not_be_met_stop_the_start(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    code, said = refused(["--data", str(tmp_path)], settings)
    assert code == 2
    assert f"{next(iter(settings))}: " in said
    assert says in said
    assert "secret" not in said


def test_a_busy_port_is_named() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        code, said = refused(["--port", str(port)], {})
    assert code == 1
    assert said.strip() == f"medsage: can't listen on 127.0.0.1:{port}: Address already in use"


def test_a_store_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    uri = "mongodb://medsage:secret-word@127.0.0.1:9/?serverSelectionTimeoutMS=200"
    code, said = refused(["--data", str(tmp_path)], {"MEDSAGE_MONGODB_URI": uri})
    assert code == 1
    assert "the store can't be opened" in said
    assert "secret-word" not in said


async def test_health_readiness_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[OSError] = []
    real = SqliteStore.check

    async def check(store: SqliteStore) -> None:
        if failures:
            raise failures[0]
        await real(store)

    monkeypatch.setattr(SqliteStore, "check", check)
    async with whole(tmp_path, health_seconds="0") as service:
        ready = await service.http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert set(ready.json()["checks"].values()) == {"ok"}

        failures.append(OSError("disk full at /secret/place"))
        ready = await service.http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert ready.json()["checks"] == {"store": "OSError", "background": "ok"}
        assert ready.headers["retry-after"] == "5"
        alive = await service.http.get("/health")
        assert (alive.status_code, alive.json()["status"]) == (200, "ok")

        failures.clear()
        assert (await service.http.get("/health/ready")).status_code == 200
        metrics = await service.http.get("/api/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "medsage_" in metrics.text
