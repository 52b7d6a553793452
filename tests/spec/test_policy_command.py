"""`medsage policy`: why a token may do something, and what it could see, told on the store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.app import defined, knowledge
from fhir_server.security.keys import open_key_ring
from fhir_server.security.rulebook import prepare
from fhir_server.storage.sqlite.store import SqliteStore
from tests.consent_world import LABEL, condition, consent, deny, exceptions, observation, of_type
from tests.guard_world import fill

ORIGIN = "http://localhost:5000"
RECORDS: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "x"},
    {"resourceType": "Patient", "id": "y"},
    observation("ox", "x"),
    observation("rx", "x", meta={"security": [LABEL]}),
    observation("oy", "y"),
    condition("cx", "x"),
    consent("x", provision=exceptions(deny(**of_type("Condition")))) | {"id": "c"},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a store, and a doctor's token for it."""
    folder = tmp_path_factory.mktemp("policy")

    async def made() -> str:
        store = SqliteStore.open(folder / "medsage.sqlite")
        await defined(store, knowledge(f"{ORIGIN}/fhir"))
        await fill(store, RECORDS)
        await prepare(store, is_indexed=True)
        keys = await open_key_ring(store)
        await store.close()
        claims = {
            "iss": f"{ORIGIN}/auth", "aud": f"{ORIGIN}/fhir", "sub": "dr.amina", "client_id": "app",
            "name": "Dr Amina", "roles": ["doctor"], "scope": "patient/*.rs user/Patient.r",
            "patient": "x", "exp": 4_000_000_000, "iat": 1_700_000_000, "jti": "t",
        }  # fmt: skip
        return keys.sign_access_token(claims)

    return folder, asyncio.run(made())


def said(place: tuple[Path, str], *arguments: str) -> str:
    folder, token = place
    command = ["policy", *arguments, "--token", "-", "--data", str(folder)]
    result = CliRunner().invoke(app, command, input=token, env={"MEDSAGE_BASE_URL": ORIGIN})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("request_", "lines"),
    [
        (
            "GET /Observation/ox",
            ["compartment: yes (that of Patient/x)", "labels: yes", "=> allowed"],
        ),
        (
            "GET /Observation/rx",
            ["labels: no (the scope names no restricted label)", "consent: yes", "=> 404"],
        ),
        ("GET /Observation/oy", ["compartment: no", "=> 404"]),
        ("GET /Condition/cx", ["compartment: yes", "consent: no (1 in force", "=> 404"]),
        (
            "POST /Observation",
            ["scope: no (is not about Observation.c)", "=> refused, 403"],
        ),
        ("GET /Patient?name=x", ["user/Patient.r", "=> allowed, for: (Patient.link = Patient/x"]),
    ],
)
def test_a_request_is_explained_hop_by_hop(
    place: tuple[Path, str], request_: str, lines: list[str]
) -> None:
    text = said(place, "explain", "--request", request_)
    assert "dr.amina by app: doctor, tenant default, patient x" in text
    for line in lines:
        assert line in text, text


def test_a_token_is_simulated_type_by_type(place: tuple[Path, str]) -> None:
    found = json.loads(said(place, "simulate", "--json"))
    rows = {row["type"]: row for row in found["types"]}
    assert (rows["Observation"]["seen"], rows["Observation"]["stored"]) == (1, 3)
    assert (rows["Condition"]["seen"], rows["Condition"]["stored"]) == (0, 1)
    assert rows["Observation"]["actions"] == "rs"
    assert "not (Observation._security = R|" in rows["Observation"]["filter"]
    assert "AuditEvent" not in rows


def test_a_token_that_is_none_is_refused(place: tuple[Path, str]) -> None:
    folder, _ = place
    command = ["policy", "simulate", "--token", "x", "--data", str(folder)]
    result = CliRunner().invoke(app, command, env={"MEDSAGE_BASE_URL": ORIGIN})
    assert result.exit_code == 1
    assert "not one of this server" in result.stderr
