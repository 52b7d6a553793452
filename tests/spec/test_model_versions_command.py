"""`medsage models list|propose|approve|decline|retire`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.analysis import versions_here
from deploy.cli import app
from deploy.commands import model_versions
from deploy.commands.serve import store_settings
from fhir_server.fhir.model_versions import Person, Proposal, Standing, State, with_standing
from fhir_server.fhir.recalls import Recall, with_recall
from fhir_server.storage.sqlite.store import SqliteStore
from models.ai_systems import ai_device
from models.registry import MALARIA
from tests.guard_world import fill

PROPOSAL = Proposal(
    State.CANDIDATE, Person("ada", "Practitioner/ada"), "2026-11-24T09:00:00Z", "Fewer alarms", 10
)


def shipped() -> Any:
    (version,) = versions_here(store_settings(None)).values()
    return version


def device(key: str | None = None) -> dict[str, Any]:
    standing = Standing(MALARIA, "malaria", State.SHADOW, proposal=PROPOSAL)
    made = with_standing(ai_device(shipped().system, "DocumentReference/c"), standing)
    made["identifier"][0]["value"] = key or shipped().key
    return {**made, "id": "v", "meta": {"versionId": "7"}}


class Server:
    """A running server with one registered version; keeps what it was asked to do."""

    def __init__(self, key: str | None = None, status: int = 200) -> None:
        self.device, self.status = device(key), status
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str] = set()

    def __call__(self, settings: object) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.tokens.add(request.headers["Authorization"])
        if request.method == "POST":
            given = json.loads(request.content)["parameter"]
            self.asked.append((request.url.path.rpartition("/")[2], {p["name"]: p for p in given}))
            issue = {"severity": "error", "code": "business-rule", "diagnostics": "somebody else"}
            if self.status != 200:
                outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
                return httpx.Response(self.status, json=outcome)
            return httpx.Response(200, json=self.device)
        if request.url.path.endswith("/Device/v"):
            return httpx.Response(200, json=self.device)
        entry = {"resource": self.device, "search": {"mode": "match"}}
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [entry]}
        return httpx.Response(200, json=bundle)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    running = Server()
    monkeypatch.setattr(model_versions, "called", running)
    return running


def medsage(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["models", *arguments], input="a-token\n")
    return result.exit_code, result.output


def test_a_step_is_proposed_with_what_it_needs(server: Server) -> None:
    code, said = medsage(
        *("propose", shipped().key, "--to", "active", "--verdict", "MeasureReport/m"),
        *("--reason", "Better", "--token", "-"),
    )
    assert code == 0, said
    ((operation, given),) = server.asked
    assert operation == "$model-propose"
    assert given["to"]["valueCode"] == "active"
    assert given["verdict"]["valueReference"] == {"reference": "MeasureReport/m"}
    assert server.tokens == {"Bearer a-token"}


def test_what_is_approved_is_what_was_shown(server: Server) -> None:
    code, said = medsage("approve", shipped().key, "--token", "-")
    assert code == 0, said
    assert "candidate with 10 % of the Tasks, Practitioner/ada" in said
    ((operation, given),) = server.asked
    assert (operation, given["version"]["valueId"]) == ("$model-approve", "7")


def test_a_refusal_is_told_and_fails(server: Server) -> None:
    server.status = 422
    code, said = medsage("approve", shipped().key, "--token", "-")
    assert code == 1
    assert "somebody else" in said


@pytest.mark.parametrize("command", [("approve",), ("propose", "--to", "active", "--reason", "x")])
def test_a_version_without_its_files_is_refused_before_the_server_is_asked(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Server("malaria-cell-1.0.0-000000000000-000000000000")
    monkeypatch.setattr(model_versions, "called", other)
    name, *options = command
    key = "malaria-cell-1.0.0-000000000000-000000000000"
    code, said = medsage(name, key, *options, "--token", "-")
    assert code == 1
    assert "no files on this machine that have these hashes" in said
    assert other.asked == []
    # It can be retired all the same.
    assert medsage("retire", key, "--reason", "Gone", "--token", "-")[0] == 0
    assert other.asked[0][0] == "$model-retire"


def test_the_list_says_where_each_stands_and_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def filled() -> None:
        store = SqliteStore.open(tmp_path / "medsage.sqlite")
        await fill(store, [device("malaria-cell-0.9.0-gone")])
        await store.close()

    asyncio.run(filled())
    code, said = medsage("list", "--data", str(tmp_path))
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0] == "malaria-cell-0.9.0-gone: shadow, not on this machine"
    assert "proposed: candidate with 10 %" in lines[1]
    assert lines[2] == f"{shipped().key}: not registered"
    assert "runs no more" not in said
    rows = json.loads(medsage("list", "--json", "--data", str(tmp_path))[1])
    assert [row["installed"] for row in rows] == [False, True]


def test_the_list_says_that_a_recalled_candidate_runs_no_more(tmp_path: Path) -> None:
    recall = Recall("r", "Mislabelled", "2026-11-25T08:00:00Z", "Practitioner/ada")
    made = with_recall(device("malaria-cell-0.9.0-gone"), recall)

    async def filled() -> None:
        store = SqliteStore.open(tmp_path / "medsage.sqlite")
        await fill(store, [made])
        await store.close()

    asyncio.run(filled())
    said = medsage("list", "--data", str(tmp_path))[1]
    assert "recalled 2026-11-25T08:00:00Z (Mislabelled): it runs no more" in said.splitlines()[0]


def test_a_hold_of_what_is_no_site_is_refused() -> None:
    code, said = medsage("hold", "--site", "ward", "--reason", "Stain", "--by", "Practitioner/ada")
    assert code == 2
    assert "nothing would be held" in said
