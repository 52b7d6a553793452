"""The secret files of the production shape."""

import base64
import json
import stat
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from deploy.secret_files import FILES, main, make_missing
from fhir_server.load_settings import load


def test_all_files_are_made_once_and_then_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make_missing(folder) == list(FILES)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "redis_password").unlink()
    assert make_missing(folder) == ["redis_password"]
    for name, content in before.items():
        if name != "redis_password":
            assert (folder / name).read_bytes() == content


def test_only_the_owner_can_enter_the_folder(tmp_path: Path) -> None:
    make_missing(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_no_two_secrets_are_the_same(tmp_path: Path) -> None:
    make_missing(tmp_path)
    contents = [text for name in FILES if (text := (tmp_path / name).read_text())]
    assert len(set(contents)) == len(contents)


def test_the_client_keys_are_p384_with_their_private_part(tmp_path: Path) -> None:
    make_missing(tmp_path)
    for name in ("medsage_app_key", "medsage_worker_key"):
        key = ECKey.import_key(json.loads((tmp_path / name).read_text()))
        assert (key.curve_name, key.is_private, bool(key.kid)) == ("P-384", True, True)


def test_the_key_file_is_one_that_mongodb_accepts(tmp_path: Path) -> None:
    make_missing(tmp_path)
    text = (tmp_path / "mongo_keyfile").read_text()
    assert 6 <= len(text) <= 1024
    base64.b64decode(text, validate=True)


def test_the_settings_read_the_files(tmp_path: Path) -> None:
    make_missing(tmp_path)
    settings, _ = load({"MEDSAGE_SECRETS_DIR": str(tmp_path)})
    assert settings.secret_key is not None
    assert len(settings.secret_key.get_secret_value()) >= 32
    assert settings.mongodb_uri is not None
    password = (tmp_path / "mongo_medsage_password").read_text()
    assert f"medsage:{password}@mongo-1" in settings.mongodb_uri.get_secret_value()
    assert settings.redis_url is not None
    assert settings.gemini_api_key is None


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [f"made {name}" for name in FILES]
