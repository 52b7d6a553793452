"""A shape of processes in which small programs play the parts."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.processes.plan import Slot
from deploy.processes.programs import PROGRAMS, Program
from deploy.processes.shape import Shape

LISTENER = """
import pathlib, socket, sys
code = pathlib.Path(sys.argv[2])
if (code / f"broken-{sys.argv[3]}").exists():
    sys.exit("this version is broken")
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    connection.sendall(code.name.encode())
    connection.close()
"""
OLD, NEW = "old", "new"


def planned(folder: Path, **given: Any) -> Shape:
    """A shape in a folder of its own, of the given numbers, addresses and settings."""
    wanted: dict[str, Any] = {"mongodb": None, "redis": None, "port": 8443} | given
    return Shape.plan(folder / "shape", **wanted)


@contextmanager
def small_shape(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shape]:
    """A shape with small programs in place of ours, which say the name of the folder of their code,
    and nginx that is not there."""

    def command(_: object, slot: Slot, port: int, code: Path) -> list[str]:
        return [sys.executable, "-S", "-c", LISTENER, str(port), str(code), slot.role]

    def problem(_: object, __: object, port: int) -> str | None:
        return None if said(port) else "does not answer"

    for role in ("server", "worker", "app", "prometheus", "alertmanager"):
        monkeypatch.setitem(PROGRAMS, role, Program(command, problem, stop_seconds=1))
    monkeypatch.setattr(Shape, "reload_door", lambda *_: None)
    for name in (OLD, NEW):
        (folder / name).mkdir()
    shape = planned(folder, workers=1)
    yield shape
    for part in shape.all_parts:
        part.stop()


def said(port: int) -> str:
    """What the program at the port says; nothing when there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(100).decode()
    except OSError:
        return ""


def start(shape: Shape, code: Path) -> None:
    """Every part that runs our code runs this one."""
    for part in shape.replaceable:
        part.start(code, waits=False)
    for part in shape.replaceable:
        part.wait()


def versions_of(shape: Shape) -> set[str]:
    """What the parts that run our code say."""
    return {said(part.port) for part in shape.replaceable}
