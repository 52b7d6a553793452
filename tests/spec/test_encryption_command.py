"""`medsage encryption`: master keys made, a store sealed and sealed anew."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.cli import app
from deploy.commands import encryption
from fhir_server.storage.master_keys import MasterKeys, read_master_keys
from fhir_server.storage.port import Draft, Key
from fhir_server.storage.sqlite.store import SqliteStore
from tests.stores import put, version

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in an empty folder with a plain store, and with its key file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encryption, "REFRESH_SECONDS", 0)

    def command(*arguments: str, has_keys: bool = True) -> Result:
        env = {"MEDSAGE_ENCRYPTION_KEY_FILE": "master" if has_keys else ""}
        return CliRunner().invoke(app, ["encryption", *arguments], env=env)

    asyncio.run(filled())
    return command


async def filled() -> None:
    Path("data").mkdir()
    store = SqliteStore.open("data/medsage.sqlite")
    await put(store, *(Draft(version(f"Patient/{number}")) for number in range(5)))
    await store.close()


def test_a_store_is_sealed_and_sealed_anew(run: Run) -> None:
    plain = run("status", has_keys=False)
    assert "not encrypted; 5 contents lie in the clear" in plain.stdout
    made = run("new-master", "master")
    assert "made master key" in made.stdout
    assert stat.S_IMODE(Path("master").stat().st_mode) == 0o600
    before = run("status").stdout
    assert "data key 1" in before
    assert "not sealed: 5 contents, believed" in before
    assert "5 sealed under data key 1" in run("rotate", "--same-key").stdout
    assert "not sealed: 0 contents, not believed" in run("status").stdout
    assert "5 sealed under data key 2" in run("rotate").stdout
    after = run("status").stdout
    assert "(active): 5 contents" in after
    assert "data key 1" in after


def test_another_master_key_is_put_on_top_and_takes_over(run: Run) -> None:
    run("new-master", "master")
    run("rotate", "--same-key")
    old = Path("master").read_text()
    run("new-master", "master")
    assert Path("master").read_text().endswith(old)
    assert run("rewrap").exit_code == 0
    new, _, _ = Path("master").read_text().partition("\n")
    Path("master").write_text(new)
    assert run("status").exit_code == 0
    Path("master").write_text(old)
    refused = run("status")
    assert refused.exit_code == 2
    assert "MEDSAGE_ENCRYPTION_KEY_FILE: the store's keys are wrapped" in refused.stderr


def test_after_a_restore_plain_content_is_believed_once_more(run: Run) -> None:
    run("new-master", "master")
    run("rotate", "--same-key")
    store = SqliteStore.open("data/medsage.sqlite", masters=encryption_keys())
    plain = b'{"resourceType":"Patient"}'
    store._writer._connection.execute("UPDATE history SET body = ? WHERE id = '3'", (plain,))
    asyncio.run(store.close())
    left = run("rotate", "--same-key")
    assert "left as it is: resource Patient/3/1 is not sealed" in left.stdout
    assert "1 sealed" in run("rotate", "--same-key", "--take-plain").stdout
    store = SqliteStore.open("data/medsage.sqlite", masters=encryption_keys())
    found = asyncio.run(store.get(Key("Patient", "3")))
    assert found is not None
    assert found.body == plain
    asyncio.run(store.close())


def encryption_keys() -> MasterKeys:
    return read_master_keys(Path("master"))


def test_without_a_key_file_there_is_nothing_to_rotate(run: Run) -> None:
    refused = run("rotate", has_keys=False)
    assert refused.exit_code == 2
    assert "the store is not encrypted: set MEDSAGE_ENCRYPTION_KEY_FILE" in refused.stderr
