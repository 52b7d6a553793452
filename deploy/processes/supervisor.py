"""Keeps a shape up: what has died is started again, as Compose's `restart` does; a full disk gets
the room that was kept back; nginx takes up a certificate that was renewed."""

import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event

from deploy.dev_mongodb import STAND_IN_VARIABLE
from deploy.processes import reserve, running
from deploy.processes.mending import is_torn, mend
from deploy.processes.part import NotReady, Part
from deploy.processes.plan import ROOT, NoShape, Plan, is_planned
from deploy.processes.running import State
from deploy.processes.shape import ROLES, Shape

_LOOK_SECONDS = 0.5
_SLOW_SECONDS = 60.0
_OTHERS_SECONDS = 20.0
LOG_BYTES, LOG_FILES = 10 * 1024 * 1024, 5
"""What Compose keeps of a container's log."""
_LONGEST_SECONDS = 60.0
_LASTING_SECONDS = 60.0
"""Who has run for so long starts afresh: the next death is the first one again."""


@dataclass
class Patience:
    """How long to wait before a part is started again: not at all, then 1 s, 2 s … a minute."""

    clock: Callable[[], float] = time.monotonic
    _deaths: int = field(default=0, init=False)
    _not_before: float = field(default=float("-inf"), init=False)
    _started: float = field(default=float("-inf"), init=False)

    def is_over(self) -> bool:
        """Whether it may be started now."""
        return self.clock() >= self._not_before

    def started(self) -> float:
        """It was started again: the seconds to wait after its next death."""
        now = self.clock()
        self._deaths = 1 if now - self._started > _LASTING_SECONDS else self._deaths + 1
        self._started = now
        wait = min(2.0 ** (self._deaths - 1), _LONGEST_SECONDS)
        self._not_before = now + wait
        return wait


@dataclass
class Supervisor:
    """`look` once and again; each line of what it does goes to `told`. What can't be done, as on a
    full disk, is told once and tried again with each look."""

    shape: Shape
    told: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _patience: dict[str, Patience] = field(default_factory=dict, init=False)
    _coming: set[str] = field(default_factory=set, init=False)
    _certificate: str = field(default="", init=False)
    _looked: float = field(default=float("-inf"), init=False)
    _failed: dict[str, str] = field(default_factory=dict, init=False)

    def look(self) -> None:
        """Start what should run and does not; see whether what was started is ready; look after
        the certificate and the logs now and then."""
        for part in self.shape.all_parts:
            self._try(part.name, partial(self._look_at, part))
        if self.clock() - self._looked >= _SLOW_SECONDS:
            self._looked = self.clock()
            self._try("the certificate", self._look_at_certificate)
            self._try("the logs", self._shorten_logs)

    def _try(self, what: str, look: Callable[[], None]) -> None:
        try:
            look()
        except (NoShape, OSError) as problem:
            text = f"{what}: {problem}"
            if self._failed.get(what) != text:
                self.told(text)
            self._failed[what] = text
        else:
            self._failed.pop(what, None)

    def _shorten_logs(self) -> None:
        plan = self.shape.written
        for file in (*(plan.folder / "logs").glob("*.log"), plan.own("nginx") / "access.log"):
            shorten(file)

    def _mend(self, part: Part) -> None:
        if not is_torn(self.shape.written, part.slot):
            return
        code = next(
            (each.code for other in self.shape.replaceable if (each := other.state.running)), ROOT
        )
        if mend(self.shape.written, part.slot, Path(code)):
            self.told(f"{part.name}: what was written of it could not be read, and is anew")
            if part.role in ROLES:
                self.shape.reload_door()  # it may listen elsewhere from now on

    def _look_at(self, part: Part) -> None:
        with suppress(NotReady):
            self._mend(part)
        patience = self._patience.setdefault(part.name, Patience(self.clock))
        if patience.is_over() and part.revive():
            wait = patience.started()
            self._coming.add(part.name)
            self.told(f"{part.name} had ended and was started again; next time after {wait:.0f} s")
        elif part.name in self._coming and part.problem() is None:
            self._coming.remove(part.name)
            self.told(f"{part.name} is ready again")

    def _look_at_certificate(self) -> None:
        found = _content(self.shape.ca_file, self.shape.key_file)
        if not self._certificate:
            self._certificate = found
        elif found != self._certificate:
            try:
                self.shape.reload_door()
            except NotReady as problem:  # looked at again until it fits: two files are exchanged
                self.told(f"another certificate is there: {problem}")
                return
            self._certificate = found
            self.told("nginx has taken up another certificate")


@dataclass(frozen=True)
class Keeper:
    """The process that keeps a shape up, and whether a verb left it in the background. Else
    somebody else started it and may start it again, as systemd does."""

    pid: int
    is_in_background: bool


def keeper(plan: Plan) -> Keeper | None:
    """Who keeps it; None when nobody does."""
    state = _known(plan)
    found = state.running
    return Keeper(found.pid, state.is_wanted) if found is not None and found.is_alive else None


def supervise(shape: Shape, *, is_in_background: bool = False) -> None:
    """Until SIGTERM or SIGINT, or the folder holds no shape any more; the parts go on then. One
    supervisor keeps a shape, and one that a verb left in the background gives way to any other;
    NotReady when there is another otherwise."""
    plan = shape.written
    ended = Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: ended.set())
    found = keeper(plan)
    if not is_in_background and found is not None and found.is_in_background:
        stop(plan)
    with running.locked(_file(plan).with_suffix(".lock"), is_patient=False) as is_alone:
        if not is_alone:
            raise NotReady("another supervisor keeps this shape")
        own = State(is_in_background, running.this_process(shape.code))
        running.write(_file(plan), own)
        supervisor = Supervisor(shape, _tell)
        _tell("supervising")
        with reserve.watched(plan.folder, _tell):
            while not ended.wait(_LOOK_SECONDS) and is_planned(plan.folder):
                supervisor.look()
                if _known(plan).running is None and is_planned(plan.folder):
                    running.write(_file(plan), own)
        _tell("ended; the parts go on")


def start(plan: Plan, code: Path = ROOT) -> None:
    """Start a supervisor, of this code, in the background, if there is none."""
    if keeper(plan) is not None:
        return
    command = [sys.executable, "-P", "-m", "deploy.processes", "supervise", "--background"]
    environment = running.passed() | {"PYTHONPATH": str(code)}
    if STAND_IN_VARIABLE in os.environ:
        environment[STAND_IN_VARIABLE] = os.environ[STAND_IN_VARIABLE]
    process, began = running.launched(
        [*command, "--folder", str(plan.folder)], environment, plan.folder, log(plan)
    )
    found = running.Running(process.pid, began, 0, str(code))
    running.write(_file(plan), State(True, found))


def stop(plan: Plan) -> None:
    """End the supervisor, if there is one; the parts go on."""
    found = _known(plan).running
    if found is not None:
        found.signal(signal.SIGTERM)
        if not found.ended(_LONGEST_SECONDS):
            found.kill()


def renew(plan: Plan, code: Path, seconds: float = _OTHERS_SECONDS) -> None:
    """A supervisor of this code in place of the one that is there. Where somebody else started it,
    they have these seconds to start theirs again, before one is started here."""
    found = keeper(plan)
    stop(plan)
    if found is not None and not found.is_in_background:
        end = time.monotonic() + seconds
        while keeper(plan) is None and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
    start(plan, code)


def log(plan: Plan) -> Path:
    """What it did."""
    return plan.folder / "logs" / "supervisor.log"


def _file(plan: Plan) -> Path:
    """Its state: it is wanted where a verb left it in the background."""
    return plan.folder / "run" / "supervisor.json"


def _known(plan: Plan) -> State:
    """Nobody where the file can't be read: who is there writes it anew."""
    try:
        return running.read(_file(plan))
    except running.Unreadable:
        return State()


def shorten(log: Path, most: int = LOG_BYTES, files: int = LOG_FILES) -> None:
    """A log that has become long goes on empty; so many older pieces are kept beside it. Its
    writer has it open for appending, so what it writes between copy and cut is lost."""
    if not log.is_file() or log.stat().st_size <= most:
        return
    pieces = [log.with_name(f"{log.name}.{number}") for number in range(1, files)]
    for older, newer in zip(reversed(pieces), [*reversed(pieces[:-1]), None], strict=True):
        if newer is not None and newer.exists():
            newer.replace(older)
    shutil.copyfile(log, pieces[0])
    os.truncate(log, 0)


def _content(*files: Path) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes() if file.is_file() else b"")
    return found.hexdigest()


def _tell(line: str) -> None:
    with suppress(OSError):  # the log lies on the disk that may be full
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", flush=True)
