"""`medsage check`: every setting in force without a secret, what was looked at, and what to do."""

import asyncio
import json
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.checks.store import KEY_DAYS, clock_finding, key_findings
from deploy.checks.surroundings import clocks_apart
from deploy.cli import app
from fhir_server.app import defined, knowledge
from fhir_server.fhir.codec import encode
from fhir_server.security.keys import open_key_ring
from fhir_server.security.signing_keys import SigningKey
from fhir_server.settings import Settings
from fhir_server.storage.master_keys import new_master_key, read_master_keys
from fhir_server.storage.port import Draft, Key, Record, ResourceStore, Stored
from fhir_server.storage.sqlite.store import SqliteStore
from tests.certificates import certificates

SECRETS = {
    "MEDSAGE_SECRET_KEY": "vq0S-a-very-random-secret-of-enough-bytes-81",
    "MEDSAGE_GEMINI_API_KEY": "AIza-not-to-be-seen",
    "MEDSAGE_REDIS_URL": "redis://:hidden-password@127.0.0.1:9/0",
}
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def checked(folder: Path, *more: str, **environment: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    quiet = {f"MEDSAGE_{name.upper()}": "" for name in Settings.model_fields}
    done = CliRunner().invoke(app, ["check", "--data", str(folder), *more], env=quiet | environment)
    return done.exit_code, done.stdout


def as_json(folder: Path, **environment: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    """The exit code, the settings, and the findings by what was looked at."""
    code, text = checked(folder, "--json", **environment)
    said = json.loads(text)
    return code, said["settings"], {each["what"]: each for each in said["findings"]}


async def filled(folder: Path, store: ResourceStore | None = None) -> None:
    """A store as a server leaves it: keys, an index that is whole, a resource."""
    opened = store or SqliteStore.open(folder / "medsage.sqlite")
    await defined(opened, knowledge("http://localhost:5000/fhir"))
    await open_key_ring(opened)
    body = encode({"resourceType": "Basic", "id": "x"})
    draft = Draft(Stored(Key("Basic", "x"), 1, datetime.now(UTC), body, "POST"))
    await opened.transaction(lambda transaction: transaction.put(draft, 0))
    await opened.close()


def test_every_setting_is_printed_and_no_secret(tmp_path: Path) -> None:
    code, said = checked(tmp_path / "none", **SECRETS)
    for name in Settings.model_fields:
        assert f"\nMEDSAGE_{name.upper()} = " in f"\n{said}"
    for name, secret in SECRETS.items():
        assert f"{name} = (set, not shown)" in said
        assert secret not in said
    assert "hidden-password" not in said
    assert "MEDSAGE_APP_KEY = (not set)" in said
    assert code == 1  # Redis does not answer
    assert "FAILED   Redis: does not answer" in said
    assert "→ Start Redis" in said


def test_a_server_whose_certificate_is_not_trusted_is_not_called_away(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://localhost:{server.server_port}"
    try:
        _, _, found = as_json(tmp_path / "none", MEDSAGE_BASE_URL=url)
    finally:
        server.shutdown()
        server.server_close()
    said = found[f"Server at {url}"]
    assert said["found"] == "its certificate is not trusted here"
    assert "MEDSAGE_TLS_CA_FILE" in said["to_do"]


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    code, _, found = as_json(tmp_path / "none")
    assert (code, found["Store"]["state"]) == (0, "unknown")
    assert not (tmp_path / "none").exists()


async def test_an_installation_in_order_passes(tmp_path: Path) -> None:
    await filled(tmp_path)
    code, settings, found = _aside(tmp_path)
    assert code == 0
    assert settings["MEDSAGE_PROFILE"] == "dev"
    for what in ("Settings", "Store", "Search index", "Clock", "Signing key (access tokens)"):
        assert found[what]["state"] == "ok", found[what]
    assert found["Signing key (identity tokens)"]["found"] == "0 days old"
    assert found["Last good backup"]["state"] == "warning"
    _, _, found = _aside(tmp_path, MEDSAGE_BACKUP_DECLINED="true")
    assert found["Last good backup"]["state"] == "unknown"
    assert found["Last good backup"]["found"].startswith("others back the store up")


async def test_a_backup_that_the_command_made_counts(tmp_path: Path) -> None:
    await filled(tmp_path)
    kept = {
        "MEDSAGE_BACKUP_TARGET": str(tmp_path / "backups"),
        "MEDSAGE_BACKUP_KEY_FILE": str(tmp_path / "key"),
    }
    for words in (["key", kept["MEDSAGE_BACKUP_KEY_FILE"]], ["create", "--data", str(tmp_path)]):
        await asyncio.to_thread(CliRunner().invoke, app, ["backup", *words], env=kept)
    _, _, found = _aside(tmp_path, **kept)
    last = found["Last good backup"]
    assert (last["state"], last["found"][-11:]) == ("ok", "seconds ago")


async def test_an_index_that_is_behind_is_told_and_not_begun(tmp_path: Path) -> None:
    await filled(tmp_path)
    store = SqliteStore.open(tmp_path / "medsage.sqlite")
    await store.transaction(
        lambda transaction: transaction.put_record(Record("search-index-whole", "fingerprint", {}))
    )
    job = await store.record("search-index", "job")
    await store.close()
    code, _, found = _aside(tmp_path)
    index = found["Search index"]
    assert (code, index["state"]) == (0, "warning")
    assert "medsage reindex" in index["to_do"]
    store = SqliteStore.open(tmp_path / "medsage.sqlite")
    assert await store.record("search-index", "job") == job
    await store.close()


async def test_a_missing_master_key_fails(tmp_path: Path) -> None:
    master = tmp_path / "master"
    master.write_text(new_master_key())
    sealed = SqliteStore.open(tmp_path / "medsage.sqlite", masters=read_master_keys(master))
    await filled(tmp_path, sealed)
    code, _, found = _aside(tmp_path)
    assert (code, found["Store"]["state"]) == (1, "failed")
    assert "MEDSAGE_ENCRYPTION_KEY_FILE" in found["Store"]["to_do"]
    code, _, found = _aside(tmp_path, MEDSAGE_ENCRYPTION_KEY_FILE=str(master))
    assert (code, found["Store"]["state"]) == (0, "ok")


def test_a_file_that_is_no_store_fails_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "medsage.sqlite").write_text("this is not a database, whatever its name is" * 40)
    code, _, found = as_json(tmp_path)
    assert (code, found["Store"]["found"]) == (1, "can't be used (DatabaseError)")
    assert found["Data folder"]["state"] == "ok"


def test_what_production_refuses_is_named_with_its_setting(tmp_path: Path) -> None:
    given = {"MEDSAGE_PROFILE": "prod", "MEDSAGE_SECRET_KEY": "short"}
    code, _, found = as_json(tmp_path / "none", **given)
    assert code == 1
    assert found["MEDSAGE_SECRET_KEY"]["found"] == "must have 32 bytes or more"
    assert found["MEDSAGE_BASE_URL"]["state"] == "failed"
    assert all(each["to_do"] for each in found.values() if each["state"] == "failed")


def test_the_app_has_no_store_to_look_at(tmp_path: Path) -> None:
    _, _, found = as_json(tmp_path / "none", MEDSAGE_ROLE="app")
    assert "Store" not in found


def keys(starts: float) -> tuple[SigningKey, ...]:
    jwk = {"kid": "k"}
    return (SigningKey("access", jwk, starts), SigningKey("identity", jwk, starts))


@pytest.mark.parametrize(("days", "state"), [(KEY_DAYS, "ok"), (KEY_DAYS + 1, "warning")])
def test_old_signing_keys_should_be_rotated(days: int, state: str) -> None:
    since = NOW - timedelta(days=days)
    rotated = list(key_findings(keys(since.timestamp()), None, NOW))
    first = list(key_findings(keys(0.0), since, NOW))
    assert [each.state for each in (*rotated, *first)] == [state] * 4
    assert {each.to_do for each in rotated} == {"medsage keys rotate" if state != "ok" else ""}


def test_without_keys_there_is_nothing_to_say_of_them() -> None:
    assert list(key_findings((), NOW, NOW)) == []
    only_access = key_findings(keys(0.0)[:1], NOW, NOW)
    assert [each.state for each in only_access] == ["ok", "failed"]


@pytest.mark.parametrize(("ahead", "state"), [(4, "ok"), (6, "failed")])
def test_a_clock_behind_the_store_or_the_server_fails(ahead: int, state: str) -> None:
    newest = NOW + timedelta(seconds=ahead)
    assert clock_finding(newest, NOW).state == state
    assert clock_finding(None, NOW).state == "ok"
    told = httpx.Response(200, headers={"date": "Tue, 24 Nov 2026 08:00:00 GMT"})
    (apart,) = clocks_apart(told, newest)
    assert apart.state == state
    assert clocks_apart(httpx.Response(200), NOW) == []


def _aside(folder: Path, **environment: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    """The command runs a loop of its own, so in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: as_json(folder, **environment)).result()


class NotReady(BaseHTTPRequestHandler):
    """A server that lives and can't work."""

    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what the command says is looked at."""


def test_a_server_that_is_to_be_replaced_need_not_be_well(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), NotReady) as old:
        threading.Thread(target=old.serve_forever, daemon=True).start()
        url = {"MEDSAGE_SERVER_URL": f"http://127.0.0.1:{old.server_port}"}
        code, said = checked(tmp_path / "none", **url)
        assert (code, "is not ready (503)" in said) == (1, True)
        code, said = checked(tmp_path / "none", "--no-server", **url)
        assert (code, "is not ready" in said) == (0, False)
        old.shutdown()
