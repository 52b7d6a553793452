"""A process that is known by a file, so that one program may start it and another stop it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import cache
from pathlib import Path

# By these a benchmark lets the clock of one part jump (bench/shape/faults.py).
_CLOCK = (
    *("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE"),
    *("FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_CACHE_DURATION"),
)
_PASSED = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "LD_LIBRARY_PATH", *_CLOCK)
_POLL_SECONDS = 0.05
_PROCESSES = ("running", "other")


@dataclass(frozen=True)
class Running:
    """A process: `began` is the kernel's start time of its number, which tells it from a later
    process of the same number; `port` is where it listens, `code` what it was started from, and
    `given` the mark of what it was given (`roles.mark`), empty where nobody knows it."""

    pid: int
    began: str
    port: int
    code: str
    given: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; who has ended and was not asked for yet has."""
        return _began(self.pid) == self.began

    def signal(self, number: int) -> None:
        """Send it, unless it has ended."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to it and to all that it has started, also when it has ended itself: nginx's
        workers outlive their master and keep its ports. Nobody is left of before the machine's
        last start."""
        is_another = _began(self.pid) not in (None, self.began)
        if not is_another and self.began.startswith(_boot()):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def ended(self, seconds: float) -> bool:
        """Whether it ends in this time."""
        end = time.monotonic() + seconds
        while self.is_alive:
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_SECONDS)
        return True


class Unreadable(Exception):
    """The file of a process is empty or torn: a machine without power may leave it so."""


@dataclass(frozen=True)
class State:
    """What is wanted of a part, its process (None before its first start), and while it is being
    replaced the process that comes or goes."""

    is_wanted: bool = False
    running: Running | None = None
    other: Running | None = None


def read(file: Path) -> State:
    """What the file says; a part that was never started is not wanted."""
    try:
        found = json.loads(file.read_text("utf-8"))
        is_wanted, given = found["is_wanted"], found.get("given", {})
        known = (
            found[key] and Running(**found[key], given=given.get(key, "")) for key in _PROCESSES
        )
        return State(is_wanted, *known)
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError) as problem:
        raise Unreadable(f"{file}: {problem}") from problem


def write(file: Path, state: State) -> None:
    """All of it or nothing; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    found = asdict(state)
    # Beside the processes: to a supervisor of an earlier version, one with a mark would be torn.
    found["given"] = {key: found[key].pop("given") for key in _PROCESSES if found[key]}
    put(draft, json.dumps(found))
    draft.replace(file)


def put(file: Path, text: str) -> None:
    """Through to the disk, so that a machine without power leaves all of it or nothing."""
    with file.open("w", encoding="utf-8") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())


def started_in(folder: Path, ports: Sequence[int]) -> list[Running]:
    """Whom `launched` has started in the folder, the oldest first: each leads a session and names
    its port, else it has the first of these."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            pid = int(each.name)
            if os.getsid(pid) == pid and (each / "cwd").resolve() == folder.resolve():
                found.append((_ticks(pid), Running(pid, _began(pid) or "", *_words(each, ports))))
    return [each for _, each in sorted(found, key=lambda one: one[0]) if each.is_alive]


def _words(process: Path, ports: Sequence[int]) -> tuple[int, str]:
    words = (process / "cmdline").read_text("utf-8", errors="replace").split("\0")
    given = (process / "environ").read_text("utf-8", errors="replace").split("\0")
    code = next((each.partition("=")[2] for each in given if each.startswith("PYTHONPATH=")), "")
    return next((port for port in ports if str(port) in words), ports[0]), code


def launched(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> tuple[subprocess.Popen[bytes], str]:
    """A process that lives on when its starter ends, and its start time; what it writes is put
    behind the log. Keep the object for as long as you want to be told when it ends."""
    for each in (folder, log.parent):
        each.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - a part's own command
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return process, _began(process.pid) or ""


def this_process(code: Path) -> Running:
    """The process that asks, which listens nowhere."""
    return Running(os.getpid(), _began(os.getpid()) or "", 0, str(code))


def passed() -> dict[str, str]:
    """What a process keeps of its starter's environment: where programs and libraries lie."""
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


@contextmanager
def locked(file: Path, is_patient: bool = True) -> Iterator[bool]:
    """Alone with what the file stands for; False when another has it and we are not patient."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            flock(handle, LOCK_EX if is_patient else LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _ticks(pid: int) -> int:
    return int((_began(pid) or "0").split()[-1])


def _began(pid: int) -> str | None:
    """The kernel's start time of a process that has not ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Behind the name, which may hold anything: state, …, and as the 20th the start time.
    state, *rest = text.rpartition(")")[2].split()
    # A killed process shows as ended (Z) as soon as its first thread is; while other threads are
    # left it still has its files, and listens at its port.
    if state == "X" or (state == "Z" and int(rest[16]) <= 1):
        return None
    # Ticks count from the start of the machine.
    return f"{_boot()} {rest[18]}"


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
