"""Who may launch the app: registration in a file, in force at once; what is told about a server."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from typer.testing import CliRunner

from deploy.cli import app as medsage
from smart_app.registered import BadRegistration, RegisteredIssuers, parsed, read_registrations
from tests.app_browser import World
from tests.ehr_documents import EPIC, HAPI_METADATA

BASE = "https://ehr.example/fhir"
KNOWN = {"name": "General Hospital", "fhir_base": BASE, "client_id": "abc"}
ADD = (BASE, "--name", "General Hospital", "--client-id", "abc")
APP_KEY = ECKey.generate_key("P-384", {"kid": "app"}, private=True).as_dict(private=True)


def run(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(medsage, ["issuer", *words, "--data", str(folder)], env={})


def registered(folder: Path) -> RegisteredIssuers:
    return RegisteredIssuers(folder / "issuers.json", APP_KEY, "https://medsage.example/fhir")


def test_a_registration_is_in_force_without_a_restart(tmp_path: Path) -> None:
    issuers = registered(tmp_path)
    assert issuers() == ()
    added = run(tmp_path, "add", *ADD, "--write-back", "Observation")
    assert added.exit_code == 0, added.output
    assert "/app/callback" in added.output
    (issuer,) = issuers()
    assert (issuer.fhir_base, issuer.client_id) == (BASE, "abc")
    assert issuer.private_jwk == APP_KEY
    assert issuer.write_back == {"Observation"}
    assert not issuer.is_own
    assert BASE in run(tmp_path, "list").output
    assert run(tmp_path, "remove", BASE).exit_code == 0
    assert issuers() == ()
    assert run(tmp_path, "remove", BASE).exit_code == 1


def test_adding_again_changes_the_registration(tmp_path: Path) -> None:
    run(tmp_path, "add", *ADD)
    run(tmp_path, "add", *ADD[:-1], "other", "--public")
    (issuer,) = registered(tmp_path)()
    assert (issuer.client_id, issuer.private_jwk, issuer.secret) == ("other", None, None)


def test_key_and_secret_lie_in_files_beside_and_are_not_listed(tmp_path: Path) -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "r"}, private=True).as_dict(private=True)
    (tmp_path / "key.json").write_text(json.dumps(rsa))
    (tmp_path / "secret").write_text("s3cret\n")
    assert run(tmp_path, "add", *ADD, "--key-file", "key.json").exit_code == 0
    (issuer,) = registered(tmp_path)()
    assert issuer.private_jwk == rsa
    assert run(tmp_path, "add", *ADD, "--secret-file", "secret").exit_code == 0
    (issuer,) = registered(tmp_path)()
    assert (issuer.private_jwk, issuer.secret) == (None, "s3cret")
    assert "s3cret" not in (tmp_path / "issuers.json").read_text()
    assert "s3cret" not in run(tmp_path, "list").output


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"fhir_base": "http://ehr.example/fhir"}, "https"),
        ({"fhir_base": "https://me@ehr.example/fhir"}, "without user"),
        ({"fhir_base": "https://ehr.example/fhir?a=b"}, "query"),
        ({"frame_ancestors": ["https://ehr.example/x"]}, "origin"),
        ({"frame_ancestors": ["https://*.example"]}, "origin"),
        ({"write_back": ["Patient"]}, "can't send Patient"),
        ({"authentication": "secret"}, "file"),
        ({"authentication": "public", "acts_alone": True}, "acts_alone"),
        ({"client_id": ""}, "client_id"),
        ({"writeback": []}, "writeback"),
    ],
)
def test_a_registration_that_is_not_sound_is_refused_by_name(
    changed: dict[str, Any], word: str
) -> None:
    with pytest.raises(BadRegistration, match=word):
        parsed({**KNOWN, **changed}, "issuer 1")


def test_plain_http_is_for_this_machine_alone() -> None:
    assert parsed({**KNOWN, "fhir_base": "http://localhost:8080/fhir/"}, "1").fhir_base == (
        "http://localhost:8080/fhir"
    )


def test_a_file_that_breaks_later_leaves_what_was_known_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, "add", *ADD)
    issuers = registered(tmp_path)
    (tmp_path / "issuers.json").write_text("{")
    assert [issuer.fhir_base for issuer in issuers()] == [BASE]
    assert "issuers not read again" in caplog.text
    with pytest.raises(BadRegistration):
        registered(tmp_path)


def test_two_registrations_of_one_issuer_and_of_ourselves_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "issuers.json"
    file.write_text(json.dumps({"issuers": [KNOWN, {**KNOWN, "fhir_base": f"{BASE}/"}]}))
    with pytest.raises(BadRegistration, match="twice"):
        read_registrations(file)
    own = {**KNOWN, "fhir_base": "https://medsage.example/fhir"}
    file.write_text(json.dumps({"issuers": [own]}))
    with pytest.raises(BadRegistration, match="itself"):
        registered(tmp_path)


def test_a_key_file_without_a_private_key_is_refused(tmp_path: Path) -> None:
    public = ECKey.generate_key("P-384").as_dict(private=False)
    for content in (json.dumps(public), "[]", "no json", ""):
        (tmp_path / "key.json").write_text(content)
        refused = run(tmp_path, "add", *ADD, "--key-file", "key.json")
        assert refused.exit_code == 2, refused.output
    assert not (tmp_path / "issuers.json").exists()


def test_an_unregistered_issuer_is_not_asked_anything(tmp_path: Path) -> None:
    refused = run(tmp_path, "test", BASE)
    assert refused.exit_code == 1
    assert "nothing is asked of it" in refused.output


def test_a_registered_issuer_is_asked_what_it_offers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = {"/fhir/.well-known/smart-configuration": EPIC, "/fhir/metadata": HAPI_METADATA}

    def answer(request: httpx.Request) -> httpx.Response:
        found = documents.get(request.url.path)
        return httpx.Response(404) if found is None else httpx.Response(200, json=found)

    client = partial(httpx.AsyncClient, transport=httpx.MockTransport(answer))
    monkeypatch.setattr("deploy.commands.issuer.httpx.AsyncClient", client)
    run(tmp_path, "add", *ADD)
    told = run(tmp_path, "test", BASE)
    assert told.exit_code == 0, told.output
    assert "works    offers launch-ehr" in told.output
    run(tmp_path, "add", *ADD, "--write-back", "DocumentReference")
    told = run(tmp_path, "test", BASE)
    assert told.exit_code == 1
    assert "missing  no create of DocumentReference" in told.output
    documents.clear()
    told = run(tmp_path, "test", BASE)
    assert told.exit_code == 3
    assert "could not be read" in told.output


async def test_the_public_keys_are_served_and_no_private_part() -> None:
    answer = await World().browser().get("/app/jwks.json")
    assert answer.status_code == 200
    (key,) = answer.json()["keys"]
    assert key["kid"] == "app"
    assert "d" not in key


def test_the_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    run(tmp_path, "add", *ADD)
    before = os.stat(tmp_path / "issuers.json").st_ino
    run(tmp_path, "add", *ADD, "--acts-alone")
    assert os.stat(tmp_path / "issuers.json").st_ino != before
    assert [path.name for path in tmp_path.iterdir() if "issuers" in path.name] == ["issuers.json"]
