"""What must not start, and what a started process says about itself."""

import base64
import errno
import os
import re
import secrets
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.checks.settings import profile_findings
from deploy.cli import app
from deploy.refusals import problems
from deploy.secret_files import make_missing
from fhir_server.load_settings import UnusableSettings, load
from fhir_server.storage.master_keys import master_keys, new_master_key
from fhir_server.storage.sqlite.store import SqliteStore
from tests.composed_world import whole
from tests.nginx_door import free_port
from tests.stores import MASTER

SECRET = secrets.token_hex(32)
PRODUCTION = {
    "MEDSAGE_PROFILE": "prod",
    "MEDSAGE_DEMO": "false",
    "MEDSAGE_BASE_URL": "https://medsage.example",
}

PROVIDER = (
    '[{"id": "c", "name": "C", "issuer": "https://c.test", "client_id": "m", "tenant": "north",'
    ' "roles": [{"claim": "groups", "value": "doctors", "role": "doctor"}]}]'
)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("MEDSAGE_")]:
        monkeypatch.delenv(name)


def refused(arguments: list[str], settings: dict[str, str]) -> tuple[int, str]:
    """Exit code and stderr of a `medsage serve` that must not start."""
    done = CliRunner().invoke(app, ["serve", "--port", str(free_port()), *arguments], env=settings)
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
        ([], {"MEDSAGE_LOG_LEVEL": "debug"}, "MEDSAGE_LOG_LEVEL: debug"),
        (
            [],
            {"MEDSAGE_DEMONSTRATION_MODELS": "true"},
            "MEDSAGE_DEMONSTRATION_MODELS: models that are for no patient",
        ),
    ],
)
def test_production_refuses_what_is_for_development(
    arguments: list[str], settings: dict[str, str], named: str
) -> None:
    code, said = refused(arguments, PRODUCTION | settings)
    assert code == 2
    assert named in said
    assert "Traceback" not in said
    assert "OPEN ACCESS" not in said


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "MEDSAGE_SECRET_KEY: must be set"),
        ({"MEDSAGE_SECRET_KEY": "short"}, "MEDSAGE_SECRET_KEY: must have 32 bytes"),
        ({"MEDSAGE_SECRET_KEY": "k" * 32}, "MEDSAGE_SECRET_KEY: must be random"),
        ({"MEDSAGE_SECRET_KEY": "changeme" + SECRET}, "MEDSAGE_SECRET_KEY: must be random"),
        ({}, "MEDSAGE_APP_KEY: must be set"),
        ({"MEDSAGE_APP_KEY": "{"}, "MEDSAGE_APP_KEY: is no JSON"),
        ({"MEDSAGE_WORKER_KEY": '{"kty":"EC"}'}, "MEDSAGE_WORKER_KEY: must be a private EC P-384"),
        ({"MEDSAGE_REDIS_URL": "redis://:medsage@h/0"}, "MEDSAGE_REDIS_URL: its password"),
        ({"MEDSAGE_MONGODB_URI": "mongodb://u:s3cret@h/"}, "MEDSAGE_MONGODB_URI: its password"),
        ({}, "MEDSAGE_ENCRYPTION_KEY_FILE: must be set"),
        ({}, "MEDSAGE_BACKUP_TARGET: must be set"),
        ({"MEDSAGE_BACKUP_TARGET": "/b"}, "MEDSAGE_BACKUP_KEY_FILE: must be set"),
        ({"MEDSAGE_BACKUP_TARGET": "s3://b"}, "MEDSAGE_BACKUP_S3_KEY_ID: must be set"),
        (
            {"MEDSAGE_BACKUP_DECLINED": "true", "MEDSAGE_BACKUP_TARGET": "/b"},
            "MEDSAGE_BACKUP_DECLINED",
        ),
        (
            {"MEDSAGE_ENCRYPTION_DECLINED": "true", "MEDSAGE_ENCRYPTION_KEY_FILE": "keys"},
            "MEDSAGE_ENCRYPTION_DECLINED",
        ),
    ],
)
def test_production_names_each_secret_that_is_missing_short_or_known(
    settings: dict[str, str], told: str
) -> None:
    code, said = refused([], PRODUCTION | settings)
    assert code == 2
    assert told in said
    assert not [value for value in settings.values() if len(value) > 8 and value in said]


def test_what_production_refuses_is_named_all_at_once() -> None:
    _, said = refused(["--open-access"], PRODUCTION)
    named = {line.partition(":")[0] for line in said.splitlines() if line.startswith("MEDSAGE_")}
    assert named == {
        *("MEDSAGE_OPEN_ACCESS", "MEDSAGE_SECRET_KEY", "MEDSAGE_APP_KEY", "MEDSAGE_WORKER_KEY"),
        *("MEDSAGE_ENCRYPTION_KEY_FILE", "MEDSAGE_BACKUP_TARGET"),
    }


def test_good_secrets_are_refused_nothing(tmp_path: Path) -> None:
    make_missing(tmp_path)
    given = PRODUCTION | {
        "MEDSAGE_SECRETS_DIR": str(tmp_path),
        "MEDSAGE_ENCRYPTION_KEY_FILE": str(tmp_path / "encryption_master_key"),
        "MEDSAGE_BACKUP_TARGET": str(tmp_path / "backups"),
        "MEDSAGE_BACKUP_KEY_FILE": str(tmp_path / "backup_key"),
    }
    assert problems(load(given)[0]) == []
    declined = {**given, "MEDSAGE_ENCRYPTION_KEY_FILE": "", "MEDSAGE_ENCRYPTION_DECLINED": "true"}
    assert problems(load(declined)[0]) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "can't be read"),
        ("", "there is no master key"),
        ("not a key", "is not base64"),
        ("c2hvcnQ=", "has 5 bytes and not 32"),
        (base64.b64encode(b"k" * 32).decode(), "is not random"),
        pytest.param(new_master_key(), "wrapped by master key", id="another key"),
    ],
)
def test_a_key_file_that_does_not_open_the_store_stops_the_start(
    tmp_path: Path, content: str | None, told: str
) -> None:
    (tmp_path / "data").mkdir()
    SqliteStore.open(tmp_path / "data/medsage.sqlite", masters=master_keys([MASTER]))
    if content is not None:
        (tmp_path / "keys").write_text(content)
    code, said = refused([], {"MEDSAGE_ENCRYPTION_KEY_FILE": "keys"})
    assert code == 2
    assert "MEDSAGE_ENCRYPTION_KEY_FILE" in said
    assert told in said
    assert not content or content not in said


def test_an_encrypted_store_without_a_key_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    SqliteStore.open(tmp_path / "data/medsage.sqlite", masters=master_keys([MASTER]))
    code, said = refused([], {})
    assert code == 2
    assert "the store is encrypted, and no key file is set" in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"MEDSAGE_SECOND_FACTOR_ROLES": "admin,root"}, "unknown roles: root"),
        ({"MEDSAGE_BROKEN_PASSWORDS": "nowhere.txt"}, "nowhere.txt can't be read"),
        ({"MEDSAGE_OPENID_PROVIDERS": "{secret"}, "must be a JSON list"),
        ({"MEDSAGE_OPENID_PROVIDERS": PROVIDER}, "MEDSAGE_TENANTS names no tenant north"),
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


def test_check_finds_rules_for_people_that_a_start_refuses() -> None:
    settings, _ = load({"MEDSAGE_SECOND_FACTOR_ROLES": "admin,root"})
    (found,) = profile_findings(settings)
    assert (found.state, found.found) == ("failed", "unknown roles: root")
    assert "MEDSAGE_SECOND_FACTOR_ROLES" in found.to_do


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("TASK_LEASE_SECONDS", "0", "greater than or equal to 1"),
        ("HEALTH_SECONDS", "-1", "greater than or equal to 0"),
        ("SESSION_SECONDS", "-5", "greater than or equal to 1"),
        ("ACCESS_TOKEN_SECONDS", "0", "greater than or equal to 1"),
        ("MAX_BODY_BYTES", "-1", "greater than or equal to 1"),
        ("MAX_UPLOAD_BYTES", "0", "greater than or equal to 1"),
        ("TRUSTED_PROXIES", "nginx", "'nginx' does not appear to be an IPv4 or IPv6 network"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "has host bits set"),
        ("BASE_URL", "https://medsage.example/", "must be an origin"),
        ("BASE_URL", "https://medsage.example/here", "must be an origin"),
        ("BASE_URL", "medsage.example", "must be an origin"),
        ("BASE_URL", "https://", "must be an origin"),
    ],
)
def test_a_value_with_which_nothing_would_work_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(UnusableSettings, match=f"MEDSAGE_{name}: .*{re.escape(says)}"):
        load({f"MEDSAGE_{name}": value})


def test_production_believes_no_forwarded_address_of_everybody() -> None:
    settings, _ = load({**PRODUCTION, "MEDSAGE_TRUSTED_PROXIES": "127.0.0.1, 0.0.0.0/0"})
    assert any(each.startswith("MEDSAGE_TRUSTED_PROXIES: everybody") for each in problems(settings))


def test_what_an_editor_leaves_around_a_secret_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "medsage_secret_key").write_text(f" {SECRET} \r\n\n")
    settings, _ = load({"MEDSAGE_SECRETS_DIR": str(tmp_path)})
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == SECRET


def test_a_secret_file_that_can_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "medsage_secret_key"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnusableSettings, match=f"MEDSAGE_SECRET_KEY: {file} is no text"):
        load({"MEDSAGE_SECRETS_DIR": str(tmp_path)})

    def refused(file: Path, *_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(UnusableSettings, match=f"{file} can't be read: Permission denied; give"):
        load({"MEDSAGE_SECRETS_DIR": str(tmp_path)})


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
