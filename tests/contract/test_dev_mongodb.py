"""`medsage dev mongodb`: which server it starts, what it prints, how it ends."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient

from deploy import dev_mongodb
from deploy.dev_mongodb import STAND_IN, STAND_IN_VARIABLE, NoServer, find
from tests.availability import ROOT, mongodb_uri

SERVE = "import sys, pathlib, deploy.dev_mongodb as m; sys.exit(m.serve(pathlib.Path(sys.argv[1])))"


def program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> Path:
    """A program of this name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_real_mongod_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_mongodb, "TOOL_FOLDERS", (tmp_path / "tools",))
    path = {"PATH": str(tmp_path / "path")}
    with pytest.raises(NoServer, match="--install"):
        find(path)
    on_path = program(tmp_path / "path", STAND_IN)
    assert find(path) == on_path
    among_tools = program(tmp_path / "tools", STAND_IN)
    assert find(path) == among_tools
    mongod = program(tmp_path / "path", "mongod")
    assert find(path) == mongod
    named = program(tmp_path / "else", "other")
    assert find({**path, STAND_IN_VARIABLE: str(named)}) == named


def test_a_variable_that_names_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match=STAND_IN_VARIABLE):
        find({STAND_IN_VARIABLE: str(tmp_path / "none")})


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    broken = program(tmp_path, "broken", "#!/bin/sh\nexit 3\n")
    with (
        pytest.raises(NoServer, match="does not answer"),
        dev_mongodb.running(broken, tmp_path / "data"),
    ):
        pass


def test_installing_without_cargo_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServer, match="cargo"):
        dev_mongodb.install(tmp_path)


def test_installing_asks_cargo_for_the_version_that_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "cargo", f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert dev_mongodb.install(tmp_path / "tools") == 0
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:2] == ["install", "secantus-mdb"]
    assert asked[asked.index("--version") + 1] == dev_mongodb.CRATE_VERSION
    assert asked[asked.index("--root") + 1] == str(tmp_path / "tools")


@pytest.mark.mongodb
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_uri_comes_first_and_a_signal_ends_both(tmp_path: Path, number: int) -> None:
    if mongodb_uri() is not None:
        pytest.skip("the tests were given a server: none may be at hand to start")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "data")],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    uri = process.stdout.readline().strip()
    with MongoClient[dict[str, int]](uri, serverSelectionTimeoutMS=5000) as client:
        assert client.admin.command("hello")["setName"]
        client["kept"]["x"].insert_one({"_id": 1})
    process.send_signal(number)
    assert process.wait(20) == 0
    with (
        dev_mongodb.running(find(os.environ), tmp_path / "data") as (uri, _),
        MongoClient[dict[str, int]](uri) as client,
    ):
        assert client["kept"]["x"].count_documents({}) == 1
