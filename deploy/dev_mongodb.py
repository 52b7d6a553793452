"""A MongoDB for development and tests: `medsage dev mongodb`.

A real `mongod` on the PATH is preferred: it is started as a replica set of one. Otherwise the
wire-compatible stand-in `secantusd-rs` is, a process of its own under its own licence, that only
developers and tests talk to; production runs MongoDB.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pymongo import MongoClient

STAND_IN = "secantusd-rs"
CRATE = "secantus-mdb"
CRATE_VERSION = "0.5.3-beta.196"
STAND_IN_VARIABLE = "MEDSAGE_MONGODB_STANDIN"
"""Names the stand-in's program where it lies in none of the usual places."""

TOOLS = Path(__file__).parents[1] / ".tools"
TOOL_FOLDERS = (TOOLS / "bin", Path.home() / ".cache/medsage/tools/bin")

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_ALREADY_INITIALIZED = 23
_REPLICA_SET = "medsage"


class NoServer(Exception):
    """There is neither mongod nor the stand-in, or it did not start; the text says what to do."""


def find(environment: Mapping[str, str]) -> Path:
    """The program to start: what the variable names, mongod on the PATH, or the stand-in among
    the project's tools or on the PATH."""
    named = environment.get(STAND_IN_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise NoServer(f"{STAND_IN_VARIABLE} names {named}, which is no file")
        return Path(named)
    path = environment.get("PATH", os.defpath)
    places = (("mongod", path), *((STAND_IN, str(each)) for each in TOOL_FOLDERS), (STAND_IN, path))
    for name, where in places:
        found = shutil.which(name, path=where)
        if found is not None:
            return Path(found)
    raise NoServer(
        f"neither mongod nor {STAND_IN} was found; `medsage dev mongodb --install` builds the"
        " stand-in (cargo, gcc, g++ and cmake; some minutes, once)"
    )


def install(root: Path = TOOLS) -> int:
    """Build the stand-in into `root`/bin with cargo; returns cargo's exit code."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise NoServer("cargo (Rust 1.95 or later) is needed to build the stand-in")
    return subprocess.run(  # noqa: S603 - a fixed command
        [cargo, "install", CRATE, "--version", CRATE_VERSION, "--ignore-rust-version",
         "--root", str(root)],
        check=False,
    ).returncode  # fmt: skip


@contextmanager
def running(
    program: Path, data: Path, port: int = 0
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URI and the process of a server on `data`; stopped at the end. Port 0: a free one."""
    data.mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    with (data.parent / f"{data.name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - a program that `find` chose
            command(program, data, port), stdout=log, stderr=log, start_new_session=True
        )
    try:
        uri = f"mongodb://127.0.0.1:{port}/"
        _initiate(process, port)
        yield uri, process
    finally:
        _stop(process)


def serve(data: Path, port: int = 0, out: TextIO = sys.stdout) -> int:
    """Run a server until it ends or a signal comes; the first line on `out` is its URI. Returns
    the exit code: 0 after a signal, the server's own when it ended by itself."""
    stopped = False
    with running(find(os.environ), data, port) as (uri, process):

        def stop(number: int, _: FrameType | None) -> None:
            nonlocal stopped
            stopped = True
            process.send_signal(number)

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, stop)
        print(uri, file=out, flush=True)
        code = process.wait()
    return 0 if stopped else code


def command(program: Path, data: Path, port: int) -> list[str]:
    """What starts the program (`find`) on the folder `data`; `problem` then makes it a replica
    set."""
    if program.name == "mongod":
        return [
            str(program), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1",
            "--replSet", _REPLICA_SET,
        ]  # fmt: skip
    # Without --sync-on-commit, acknowledged writes are lost when the stand-in is killed.
    return [str(program), "--port", str(port), "--storage-path", str(data), "--sync-on-commit"]


def _initiate(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers, make it a replica set, wait until it takes writes."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if problem(port) is None:
            return
        time.sleep(0.05)
    raise NoServer(f"{process.args!r} does not answer; its log lies beside its data")


def problem(port: int) -> str | None:
    """Why the server on this port takes no writes yet, or None; it is made a replica set of one
    when it is none."""
    # The `medsage` command, of which this is a part, must start without the extra `mongodb`.
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    member = f"127.0.0.1:{port}"
    with MongoClient[dict[str, object]](
        f"mongodb://{member}/?directConnection=true", serverSelectionTimeoutMS=200
    ) as client:
        try:
            _initiate_once(client, member)
            hello = client.admin.command("hello")
        except PyMongoError as failure:
            return type(failure).__name__
    return None if hello.get("isWritablePrimary") else "no primary"


def _initiate_once(client: "MongoClient[dict[str, object]]", member: str) -> None:
    from pymongo.errors import OperationFailure

    members = [{"_id": 0, "host": member}]
    configuration: dict[str, object] = {"_id": _REPLICA_SET, "members": members}
    try:
        client.admin.command("replSetInitiate", configuration)
    except OperationFailure as failure:
        if failure.code != _ALREADY_INITIALIZED:
            raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
