"""`medsage client` and `medsage keys`: the register and the signing keys from the command line."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.security.authorization.client_secret import is_secret
from fhir_server.security.authorization.clients import Client, client_from, record_of
from fhir_server.security.keys import open_key_ring
from fhir_server.storage.port import Record, ResourceStore
from fhir_server.storage.sqlite.store import SqliteStore
from tests.smart_world import ec_key

T = TypeVar("T")
APP = ["--name", "Charts", "--scope", "openid user/Patient.rs"]
BACK = ["--redirect-uri", "https://charts.test/callback"]
WAITING = Client(
    "waiting",
    "Waiting app",
    "openid user/Patient.rs",
    redirect_uris=("https://w.test/cb",),
    status="pending",
)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("MEDSAGE_")]:
        monkeypatch.delenv(name)


def _medsage(*arguments: str, **settings: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--data", "data"], env=settings)


def _done(*arguments: str) -> str:
    done = _medsage(*arguments)
    assert done.exit_code == 0, done.output + done.stderr
    return done.stdout


def _refused(*arguments: str, **settings: str) -> str:
    done = _medsage(*arguments, **settings)
    assert done.exit_code == 1, done.output
    return done.stderr


def _in_store(work: Callable[[ResourceStore], Awaitable[T]]) -> T:
    async def run() -> T:
        Path("data").mkdir(exist_ok=True)
        store = SqliteStore.open(Path("data/medsage.sqlite"), lambda: datetime.now(UTC))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _client(client_id: str) -> Client:
    record = _in_store(lambda store: store.record("client", client_id))
    assert record is not None
    return client_from(record)


def _keep(client: Client) -> None:
    made = record_of(client)
    soon = datetime.now(UTC) + timedelta(days=1)
    record = Record(made.kind, made.id, made.value, expires=soon)
    _in_store(lambda store: store.transaction(lambda tx: tx.put_record(record)))


def test_clients_of_each_kind_are_added_listed_shown_and_removed(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [ec_key("a").as_dict(private=False)]}))
    _done("client", "add", "public", *APP, *BACK, "--public")
    _done("client", "add", "by-url", *APP, *BACK, "--jwks-uri", "https://charts.test/jwks")
    service = ["--name", "Service", "--scope", "system/*.rs", "--backend", "--jwks", str(keys)]
    _done("client", "add", "service", *service, "--resource-server")
    listed = _done("client", "list").splitlines()
    assert [line.split("  ")[:3] for line in listed] == [
        ["by-url", "active", "private_key_jwt"],
        ["public", "active", "none"],
        ["service", "active", "private_key_jwt"],
    ]
    shown = json.loads(_done("client", "show", "service"))
    assert shown["grant_types"] == ["client_credentials"]
    assert (shown["resource_server"], shown["first_party"]) == (True, False)
    assert "0 grants" in _done("client", "remove", "public")
    assert "public" not in _done("client", "list")
    assert "no client public" in _refused("client", "show", "public")
    assert "no client public" in _refused("client", "remove", "public")


def test_metadata_in_a_file_registers_the_same(tmp_path: Path) -> None:
    metadata = {
        "client_name": "Charts",
        "scope": "openid",
        "redirect_uris": ["https://charts.test/callback"],
        "token_endpoint_auth_method": "none",
    }
    file = tmp_path / "charts.json"
    file.write_text(json.dumps(metadata))
    _done("client", "add", "charts", "--metadata", str(file), "--first-party")
    client = _client("charts")
    assert (client.name, client.is_preapproved, client.is_public) == ("Charts", True, True)
    for more in ("--public", "--backend", "--secret"):
        said = _refused("client", "add", "x", "--metadata", str(file), more)
        assert "leave the other" in said
    file.write_text(json.dumps(metadata | {"logo_uri": "https://charts.test/logo"}))
    assert "logo_uri" in _refused("client", "add", "x", "--metadata", str(file))
    file.write_text("[")
    assert "JSON" in _refused("client", "add", "x", "--metadata", str(file))


def test_what_is_unsound_is_refused_by_name_and_nothing_is_replaced() -> None:
    add = ["client", "add", "charts", *APP]
    assert "is needed" in _refused(*add, *BACK)
    assert "is needed" in _refused(*add, *BACK, "--public", "--secret")
    assert "redirect_uris" in _refused(*add, "--public")
    assert "key" in _refused(*add, *BACK, "--public", "--ehr")
    assert "key" in _refused(*add, "--secret", "--backend")
    assert "resource server" in _refused(*add, *BACK, "--public", "--resource-server")
    _done(*add, *BACK, "--public")
    assert "already" in _refused(*add, *BACK, "--public")
    plain = ["client", "add", "y", *APP, *BACK, "--jwks-uri", "http://localhost/jwks"]
    prod = {"MEDSAGE_PROFILE": "staging"}
    assert "https" in _refused(*plain, **prod)
    _done(*plain)


def test_a_secret_is_shown_once_and_rotated_with_the_old_one_still_good() -> None:
    def secret(output: str) -> str:
        return output.strip().rpartition(" ")[2]

    first = secret(_done("client", "add", "charts", *APP, *BACK, "--secret"))
    second = secret(_done("client", "rotate-secret", "charts"))
    assert [is_secret(_client("charts"), one) for one in (first, second)] == [True, True]
    third = secret(_done("client", "rotate-secret", "charts"))
    good = [is_secret(_client("charts"), one) for one in (first, second, third)]
    assert good == [False, True, True]
    fourth = secret(_done("client", "rotate-secret", "charts", "--drop-old"))
    assert [is_secret(_client("charts"), one) for one in (third, fourth)] == [False, True]
    shown = _done("client", "show", "charts")
    assert not any(one in shown for one in (first, second, third, fourth))
    _done("client", "add", "public", *APP, *BACK, "--public")
    assert "secret" in _refused("client", "rotate-secret", "public")


def test_those_that_wait_are_approved_narrower_or_refused() -> None:
    for name in ("waiting", "other"):
        _keep(Client(**{**WAITING.__dict__, "id": name}))
    assert len(_done("client", "list", "--pending").splitlines()) == 2
    assert "scopes" in _refused("client", "approve", "waiting", "--scope", "user/*.cruds")
    said = _done("client", "approve", "waiting", "--scope", "user/Patient.r")
    assert "user/Patient.r" in said
    assert (_client("waiting").status, _client("waiting").scopes) == ("active", "user/Patient.r")
    assert "approved already" in _refused("client", "approve", "waiting")
    _done("client", "reject", "other")
    assert _client("other").status == "rejected"
    assert _done("client", "list", "--pending") == ""
    entries = _in_store(lambda store: store.journal(100))
    details = [json.loads(one.entry)["detail"] for one in entries]
    assert details == ["waiting approved", "other refused"]


def test_a_client_serves_the_tenant_that_it_is_registered_or_approved_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = ["client", "add", "charts", *APP, *BACK, "--public", "--tenant"]
    assert "no tenant" in _refused(*add, "north")
    monkeypatch.setenv("MEDSAGE_TENANTS", "north, south")
    _done(*add, "north")
    _keep(WAITING)
    assert "no tenant" in _refused("client", "approve", "waiting", "--tenant", "west")
    _done("client", "approve", "waiting", "--tenant", "south")
    assert (_client("charts").tenant, _client("waiting").tenant) == ("north", "south")
    assert json.loads(_done("client", "show", "charts"))["tenant"] == "north"


def test_keys_are_listed_rotated_and_retired() -> None:
    assert "first start" in _refused("keys", "list")
    assert "no key" in _refused("keys", "rotate")
    _in_store(open_key_ring)
    first = _done("keys", "list").splitlines()
    assert [line.split()[1:] for line in first] == [["access", "signs"], ["identity", "signs"]]
    rotated = _done("keys", "rotate").splitlines()
    assert len(rotated) == 4
    assert [line.split()[2] for line in rotated[:2]] == ["signs", "signs"]
    assert all("signs from" in line for line in rotated[2:])
    assert "does not sign yet" in _refused("keys", "rotate")
    old, new = first[0].split()[0], rotated[2].split()[0]
    retired = _done("keys", "retire", old).splitlines()
    assert old not in str(retired)
    assert next(line for line in retired if line.startswith(new)).split()[2:] == ["signs"]
    assert "no key" in _refused("keys", "retire", old)
    entries = _in_store(lambda store: store.journal(100))
    details = [json.loads(one.entry)["detail"] for one in entries]
    assert details == ["rotated", f"retired {old}"]
