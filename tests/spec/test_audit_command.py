"""`medsage audit`: the trail and its key handed to somebody who verifies them elsewhere."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.commands import audit
from fhir_server.audit.journal import AuditTrail
from fhir_server.audit.verify import main
from fhir_server.storage.port import Key
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id, utc_now
from tests.audit_world import BASE, DOCTOR

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in a folder with a store in which three reads wait to be sealed."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(read_three_times())

    def command(*words: str) -> Result:
        return CliRunner().invoke(app, ["audit", *words])

    return command


async def read_three_times() -> None:
    Path("data").mkdir()
    store = SqliteStore.open("data/medsage.sqlite")
    trail = AuditTrail(DOCTOR, utc_now, new_id, BASE)
    for number in range(3):
        key = Key("Observation", f"o{number}")
        await store.note(trail.entry(interaction="read", outcome="success", status=200, key=key))
    await store.close()


def said_by_the_verifier(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(list(words))
    return code, capsys.readouterr().out


def test_what_was_done_until_now_is_handed_over_and_verifies(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("key", "--to", "audit-key.json").exit_code == 0
    made = run("export", "--to", "trail.ndjson")
    assert made.exit_code == 0, made.output
    # Three reads, and this export: who hands the trail over is in it.
    assert "4 events" in made.stdout
    code, said = said_by_the_verifier(capsys, "trail.ndjson", "--key", "audit-key.json")
    assert (code, said.splitlines()[0]) == (0, "4 events in 1 blocks, 0 findings")
    # What is to be kept apart is what the verifier tells too.
    assert [line for line in said.splitlines()[1:] if line not in made.stdout] == []
    assert stat.S_IMODE(Path("trail.ndjson").stat().st_mode) == 0o600


def test_an_export_goes_on_from_the_head_of_an_earlier_one(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = run("export", "--to", "one.ndjson").stdout
    head = next(line.split()[1] for line in earlier.splitlines() if line.startswith("head "))
    run("export", "--to", "two.ndjson")
    assert said_by_the_verifier(capsys, "two.ndjson", "--head", head)[0] == 0
    assert run("export", "--to", "rest.ndjson", "--first", "2").exit_code == 0
    words = ("rest.ndjson", "--first", "2", "--head")
    code, said = said_by_the_verifier(capsys, *words, head)
    assert (code, said.splitlines()[0]) == (0, "2 events in 2 blocks, 0 findings")
    assert said_by_the_verifier(capsys, *words, f"1:{'0' * 64}")[0] == 1


def test_it_can_be_sent_on_without_a_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    sent = run("export", "--to", "-")
    assert "head 1:" in sent.stderr
    Path("received.ndjson").write_bytes(sent.stdout_bytes)
    assert said_by_the_verifier(capsys, "received.ndjson")[0] == 0


def test_what_was_not_written_to_its_end_is_not_left(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_: object) -> AsyncIterator[bytes]:
        yield b"{}\n"
        raise OSError("no room")

    monkeypatch.setattr(audit, "lines_of", cut_off)
    refused = run("export", "--to", "trail.ndjson")
    assert (refused.exit_code, refused.stderr) == (1, "medsage: no room\n")
    assert not Path("trail.ndjson").exists()


def test_the_key_is_the_public_one_alone(run: Run) -> None:
    made = run("key", "--to", "audit-key.json")
    jwk = json.loads(Path("audit-key.json").read_text("utf-8"))
    assert "d" not in jwk
    assert jwk["kid"] in made.stdout


@pytest.mark.parametrize("verb", ["export", "key"])
def test_a_file_that_is_there_is_kept(run: Run, verb: str) -> None:
    Path("mine").write_text("mine")
    refused = run(verb, "--to", "mine")
    assert refused.exit_code == 1
    assert "mine" in refused.stderr
    assert Path("mine").read_text() == "mine"


def test_a_block_number_below_one_is_refused(run: Run) -> None:
    assert run("export", "--to", "trail.ndjson", "--first", "0").exit_code == 2
    assert not Path("trail.ndjson").exists()
