"""One part of a shape: a process that is started, looked at, replaced while it serves, ended."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy.processes import mending, programs, roles, running
from deploy.processes.plan import ROOT, Plan, Slot
from deploy.processes.programs import PROGRAMS, Program
from deploy.processes.running import Running, State

START_SECONDS = 180.0
_POLL_SECONDS = 0.1
_TAIL = 2000


class NotReady(Exception):
    """A part ended, or did not get ready in time; the text says which and how its log ends."""


@dataclass
class Part:
    """Its process may be another program's child: all that is known of it lies in the folder."""

    plan: Plan
    slot: Slot
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False, repr=False)

    @property
    def name(self) -> str:
        """As `server-1`; unique in the shape."""
        return self.slot.name

    @property
    def role(self) -> str:
        """nginx, server, worker, app, redis or mongodb."""
        return self.slot.role

    @property
    def log(self) -> Path:
        """What its processes have written, the newest last."""
        return self.plan.folder / "logs" / f"{self.name}.log"

    @property
    def state(self) -> State:
        """As its file has it now, or its processes where that can't be read."""
        self._let_go()
        try:
            return running.read(self._file)
        except running.Unreadable:
            return mending.seen(self.plan, self.slot)

    @property
    def port(self) -> int:
        """Where it listens now, or would after a start."""
        found = self.state.running
        return self.slot.ports[0] if found is None else found.port

    @property
    def pid(self) -> int | None:
        """The number of its process; None when it does not run."""
        found = self.state.running
        return found.pid if found is not None and found.is_alive else None

    def problem(self) -> str | None:
        """Why it is not ready, or None."""
        if self.pid is None:
            return "does not run"
        return self._program.problem(self.plan, self.slot, self.port)

    def start(self, code: Path | None = None, *, waits: bool = True) -> None:
        """Start it if it does not run, and wait until it is ready, NotReady otherwise. `code` is
        the folder of the code, else that of its last process. Whoever supervises keeps it up from
        now on."""
        with self._alone():
            self._launch(code)
        if waits:
            self.wait()

    def revive(self) -> bool:
        """Start it again if it should run and does not; whether that was so. When another
        program is at it, it is left alone."""
        with running.locked(self._lock, is_patient=False) as is_alone:
            state = self.state
            if not is_alone or not state.is_wanted or self.pid is not None:
                return False
            self._launch(None)
            return True

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Until it is ready; NotReady when it ends, or isn't by then."""
        found = self.state.running
        if found is None:
            raise NotReady(f"{self.name} was not started")
        self._wait(found, seconds)

    def stop(self, number: int | None = None) -> None:
        """Signal it (what ends it in order unless another is named), and kill what has not ended
        within its limit. It stays down."""
        with self._alone():
            state = self.state
            running.write(self._file, replace(state, is_wanted=False))
            for each in (state.other, state.running):
                self._end(each, number)
            running.write(self._file, State(False, state.running))

    def kill(self) -> None:
        """SIGKILL, as a fault would; whoever supervises starts it again."""
        found = self.state.running
        if found is not None:
            found.kill()
            found.ended(self._program.stop_seconds)
            self._let_go()

    def replace(self, code: Path, moved: Callable[[], None]) -> None:
        """Another process in this one's place, which goes on until the other is ready on the
        part's second port and `moved` has led the requests there. NotReady leaves things as they
        were."""
        with self._alone():
            state = self.state
            old = state.running
            if old is None or not old.is_alive:
                self._launch(code)
                self.wait()
                moved()
                return
            self._end(state.other)
            new = self._spawn(next(each for each in self.slot.ports if each != old.port), code)
            self._put(State(True, old, new), new)
            try:
                self._wait(new, START_SECONDS)
            except NotReady:
                self._end(new)
                running.write(self._file, State(True, old))
                raise
            running.write(self._file, State(True, new, old))
            try:
                moved()
            except NotReady:
                # Requests still go to the one before; what is written for nginx says so again.
                running.write(self._file, State(True, old, new))
                with suppress(NotReady):
                    moved()
                self._end(new)
                running.write(self._file, State(True, old))
                raise
            self._end(old)
            running.write(self._file, State(True, new))

    def took_up(self, code: Path) -> None:
        """Its process now goes by the files of this code, without another start."""
        with self._alone():
            state = self.state
            if state.running is not None:
                taken = replace(state.running, code=str(code))
                running.write(self._file, replace(state, running=taken))

    @property
    def _program(self) -> Program:
        return PROGRAMS[self.role]

    @property
    def _file(self) -> Path:
        return self.plan.folder / "run" / f"{self.name}.json"

    @property
    def _lock(self) -> Path:
        return self.plan.folder / "run" / f"{self.name}.lock"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with running.locked(self._lock):
            yield

    def _launch(self, code: Path | None) -> None:
        state = self.state
        found = state.running
        if found is None or not found.is_alive:
            self._end(state.other)
            if found is not None:
                found.kill()
            last = ROOT if found is None else Path(found.code)
            found = self._spawn(self.port, code or last)
            self._put(State(True, found), found)
        else:
            self._end(state.other)  # of a replacement that somebody broke off
            running.write(self._file, State(True, found))

    def _put(self, state: State, new: Running) -> None:
        try:
            running.write(self._file, state)
        except OSError:
            new.kill()  # nobody would know of it, and it would keep the port
            raise

    def _spawn(self, port: int, code: Path) -> Running:
        # Before the files are copied: who changes one meanwhile has the part started once more.
        given = roles.mark(self.plan, self.slot)
        command = self._program.command(self.plan, self.slot, port, code)
        environment = programs.environment(self.plan, self.slot, code)
        child, began = running.launched(command, environment, self.plan.own(self.name), self.log)
        self._children = [each for each in self._children if each.poll() is None]
        self._children.append(child)
        return Running(child.pid, began, port, str(code), given)

    def _let_go(self) -> None:
        """Of children that have ended: nobody else asks for them."""
        for child in self._children:
            child.poll()

    def _end(self, found: Running | None, number: int | None = None) -> None:
        if found is None:
            return
        found.signal(self._program.stop_signal if number is None else number)
        found.ended(self._program.stop_seconds)
        found.kill()  # with what it has started, also when it has ended itself
        found.ended(self._program.stop_seconds)
        self._let_go()

    def _wait(self, found: Running, seconds: float) -> None:
        end = time.monotonic() + seconds
        problem: str | None = "was not asked"
        while time.monotonic() < end:
            if not found.is_alive:
                raise NotReady(f"{self.name} ended; its log ends with:\n{self._tail()}")
            problem = self._program.problem(self.plan, self.slot, found.port)
            if problem is None:
                return
            time.sleep(_POLL_SECONDS)
        raise NotReady(
            f"{self.name} is not ready after {seconds:.0f} s ({problem}); its log ends"
            f" with:\n{self._tail()}"
        )

    def _tail(self) -> str:
        return self.log.read_text("utf-8", errors="replace")[-_TAIL:]
