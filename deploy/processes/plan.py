"""What a shape is made of, as it is written in its folder, so that any process can take it up."""

import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import SystemRandom

from deploy.processes import reserve, running

ROOT = Path(__file__).parents[2]
"""The checkout that this code is part of."""
# Below the range from which the kernel takes the ports of outgoing connections, so that nobody
# takes a part's port while the part is down.
_FIRST, _LAST = 20_000, 32_000
_FILE = "shape.json"
_PARTS = "parts"
_PLACES = (_PARTS, "secrets", "backups", "logs", "versions", "issuers")
"""The folders that a shape has in its own."""
_LEFT = frozenset({*_PLACES, "run", "verb.lock", f".{_FILE}.new", "lost+found", reserve.NAME})
"""What may lie where a shape is planned: all that one leaves, and what a file system brings."""


class NoShape(Exception):
    """The folder holds no shape, or can't hold this one; the text says what to do."""


@dataclass(frozen=True)
class Slot:
    """A part's name and the ports that are its own. What is replaced while it runs changes
    between two; nginx has one for each of its doors (`DOORS`)."""

    name: str
    role: str
    ports: tuple[int, ...]


DOORS = ("tls", "plain", "alive", "server", "worker")
"""nginx's ports in order: the public two, that of its health check, and the inner doors by which
the roles reach any server and any worker."""


@dataclass(frozen=True)
class Plan:
    """The parts of a shape, and those that watch it. `settings` are further `MEDSAGE_` variables
    of all roles; addresses with passwords in them lie in the folder's secret files alone."""

    folder: Path
    base_url: str
    slots: tuple[Slot, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    watching: tuple[Slot, ...] = ()

    def watching_slot(self, name: str) -> Slot:
        """The part of this name that watches the others; KeyError for others."""
        return {each.name: each for each in self.watching}[name]

    def slot(self, name: str) -> Slot:
        """The part of this name; KeyError for others."""
        return {each.name: each for each in self.slots}[name]

    def door(self, name: str) -> int:
        """The port of one of nginx's doors."""
        return self.slot("nginx").ports[DOORS.index(name)]

    def of_role(self, role: str) -> tuple[Slot, ...]:
        """The parts of this role."""
        return tuple(each for each in self.slots if each.role == role)

    @property
    def is_development(self) -> bool:
        """Whether it is one process with the demonstration, and no production shape."""
        return bool(self.of_role("all"))

    @property
    def secrets(self) -> Path:
        """Folder of all secret files; each part has a folder with those that it may read."""
        return self.folder / "secrets"

    @property
    def certificates(self) -> Path:
        """Folder of nginx's certificate and key, as in Compose."""
        return self.secrets / "tls"

    @property
    def backups(self) -> Path:
        """Where backups go when the settings say nothing else."""
        return self.folder / "backups"

    def own(self, name: str) -> Path:
        """The folder of one part: its secrets, its data, and where it runs."""
        return self.folder / "parts" / name

    def write(self) -> None:
        """Into the folder, open to its owner alone; all of it or nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        written = {**asdict(self), "folder": None}
        draft = self.folder / f".{_FILE}.new"
        running.put(draft, json.dumps(written, indent=2) + "\n")
        draft.replace(self.folder / _FILE)


def is_planned(folder: Path) -> bool:
    """Whether a shape lies in the folder."""
    return (folder / _FILE).is_file()


def require_free(folder: Path) -> None:
    """NoShape when the folder holds a shape, or anything that none has left: a shape closes its
    folder to others, and removes from it."""
    if is_planned(folder):
        raise NoShape(f"{folder} holds a shape already")
    strange = {each.name for each in folder.iterdir()} - _LEFT if folder.is_dir() else ()
    if strange:
        raise NoShape(f"{folder} holds {min(strange)}, which is no shape's; name another --folder")


def read(folder: Path) -> Plan:
    """The plan that lies in the folder; NoShape when there is none."""
    folder = folder.resolve()
    try:
        found = json.loads((folder / _FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise NoShape(f"there is no shape in {folder}; the verb prod makes one") from None
    except ValueError as problem:
        raise NoShape(f"{folder}/{_FILE} can't be read ({problem}); bring back a copy") from None
    slots, watching = (
        tuple(Slot(each["name"], each["role"], tuple(each["ports"])) for each in found[key])
        for key in ("slots", "watching")
    )
    return Plan(folder, found["base_url"], slots, found["settings"], watching)


def forget(plan: Plan) -> None:
    """The folder holds no shape any more; data, secrets, backups and logs stay."""
    (plan.folder / _FILE).unlink()
    (plan.folder / reserve.NAME).unlink(missing_ok=True)
    shutil.rmtree(plan.folder / "run", ignore_errors=True)


def remove_stored(plan: Plan) -> None:
    """What the parts have stored; secrets, backups and logs stay."""
    shutil.rmtree(plan.folder / _PARTS, ignore_errors=True)


def remove(plan: Plan) -> None:
    """All that `forget` leaves. What else lies in the folder is somebody else's, and stays."""
    for name in _PLACES:
        if (plan.folder / name).exists():
            shutil.rmtree(plan.folder / name)
    (plan.folder / "verb.lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        plan.folder.rmdir()


def free_ports() -> Iterator[int]:
    """Ports that nobody listens on, none of them twice."""
    place = SystemRandom().randrange(_FIRST, _LAST)
    for step in range(_LAST - _FIRST):
        port = _FIRST + (place - _FIRST + step) % (_LAST - _FIRST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


def production(
    counts: Mapping[str, int], port: int, own: frozenset[str]
) -> tuple[tuple[Slot, ...], tuple[Slot, ...]]:
    """The parts in the order of their start, with ports: so many of each role behind nginx at
    `port`, and those of Redis and MongoDB that are our own; and what watches them."""
    ports = free_ports()
    backing = [Slot(name, name, (next(ports),)) for name in ("redis", "mongodb") if name in own]
    roles = {
        role: [
            Slot(f"{role}-{number}", role, (next(ports), next(ports)))
            for number in range(1, count + 1)
        ]
        for role, count in counts.items()
    }
    nginx = Slot("nginx", "nginx", (port, *(next(ports) for _ in DOORS[1:])))
    watching = tuple(Slot(name, name, (next(ports),)) for name in ("alertmanager", "prometheus"))
    # Worker and app reach the servers through nginx's inner door, so it comes before them.
    return (*backing, *roles["server"], nginx, *roles["worker"], *roles["app"]), watching


def development(port: int) -> tuple[Slot, ...]:
    """Everything in one process."""
    return (Slot("medsage", "all", (port,)),)
