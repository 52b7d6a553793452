"""The secret files of the production shape."""

import base64
import json
import stat
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from deploy.secret_files import FILES, main, make_empty, make_missing
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


def test_what_is_empty_until_the_operator_writes_is_made_alone_in_an_older_folder(
    tmp_path: Path,
) -> None:
    """A password or an address that is missing would be made anew, and be another one."""
    assert "medsage_openid_providers" in make_empty(tmp_path)
    assert all((file.stat().st_size, file.read_text()) == (0, "") for file in tmp_path.iterdir())
    assert make_empty(tmp_path) == []


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


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("redis_password", "medsage_redis_url"),
        ("mongo_medsage_password", "medsage_mongodb_uri"),
    ],
)
def test_a_new_password_is_also_in_the_address_that_holds_it(
    name: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_missing(tmp_path)
    (tmp_path / address).chmod(0o400)
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert main([str(tmp_path), "--new", name]) == 0
    after = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert {each for each in after if after[each] != before[each]} == {name, address}
    assert set(after) == set(before)
    assert after[address] == before[address].replace(before[name], after[name])
    assert len(after[name]) == len(before[name])
    modes = [stat.S_IMODE((tmp_path / each).stat().st_mode) for each in (name, address)]
    assert modes == [0o444, 0o400]
    said = capsys.readouterr().out
    assert said.splitlines() == [f"made {address} anew", f"made {name} anew"]


def test_a_password_that_is_kept_elsewhere_is_not_changed_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_missing(tmp_path)
    address = tmp_path / "medsage_redis_url"
    address.chmod(0o600)
    address.write_text("rediss://medsage:theirs@redis.example:6380/0")
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert main([str(tmp_path), "--new", "redis_password"]) == 1
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == before
    said = capsys.readouterr().err
    assert "medsage_redis_url does not hold redis_password" in said
    assert "theirs" not in said


def test_only_passwords_can_be_made_anew(tmp_path: Path) -> None:
    make_missing(tmp_path)
    key = (tmp_path / "encryption_master_key").read_text()
    assert main([str(tmp_path), "--new", "encryption_master_key"]) == 1
    assert (tmp_path / "encryption_master_key").read_text() == key
