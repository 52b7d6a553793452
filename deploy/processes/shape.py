"""The whole shape: planned into a folder, started in the order of what needs what, stopped in
reverse, and replaced part by part while it serves.

    shape = Shape.plan(folder, mongodb=None, redis=None, port=8443)
    shape.start()
    …
    shape.stop()

Another process takes it up with `Shape.open(folder)`. nginx limits what one address may ask for;
a load of many people comes from many addresses of the loopback network (127.0.0.2 …).
"""

import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from deploy.processes import door, plan, running, watching
from deploy.processes.part import NotReady, Part
from deploy.processes.plan import DOORS, ROOT, NoShape, Plan
from deploy.secret_files import make_missing

ROLES = ("server", "worker", "app")
"""The roles that run our code and are replaced while they serve."""
_STAGES: Sequence[frozenset[str]] = (
    frozenset({"redis", "mongodb"}),
    frozenset({"server"}),
    frozenset({"nginx"}),
    frozenset({"worker", "app"}),
    frozenset({"all"}),
)
_LOCAL = frozenset({"localhost", "127.0.0.1"})
_RELOAD_SECONDS = 10.0
# What nginx's workers of before the reload have accepted already reaches the process of before.
_SETTLE_SECONDS = 0.5


@dataclass
class Shape:
    """`parts` by name, in the order of their start, and those that are `watching` them; `code` is
    the folder of the code that a start or a restart takes."""

    written: Plan
    code: Path = ROOT
    parts: dict[str, Part] = field(init=False)
    watching: dict[str, Part] = field(init=False)

    def __post_init__(self) -> None:
        self.parts = {slot.name: Part(self.written, slot) for slot in self.written.slots}
        self.watching = {slot.name: Part(self.written, slot) for slot in self.written.watching}

    @classmethod
    def plan(
        cls, folder: Path, *, servers: int = 2, workers: int = 2, apps: int = 2,
        mongodb: str | None, redis: str | None, port: int,
        settings: Mapping[str, str] | None = None,
    ) -> "Shape":  # fmt: skip
        """A new shape in the folder, which must hold none, behind nginx at `port`. `mongodb` and
        `redis` are addresses; None starts one of our own. `settings` are `MEDSAGE_` variables
        that differ from Compose's. Raises NoShape when it can't be."""
        folder = folder.resolve()
        plan.require_free(folder)
        if min(servers, workers, apps) < 1:
            raise NoShape("a shape has one server, one worker and one app at least")
        given = dict(settings or {})
        base_url = given.pop("MEDSAGE_BASE_URL", f"https://localhost:{port}")
        addresses = {"mongodb": mongodb, "redis": redis}
        own = frozenset(name for name, address in addresses.items() if address is None)
        counts = {"server": servers, "worker": workers, "app": apps}
        slots, watching = plan.production(counts, port, own)
        made = Plan(folder, base_url, slots, given, watching)
        made.write()
        _write_secrets(made, addresses)
        return cls(made)

    @classmethod
    def open(cls, folder: Path) -> "Shape":
        """The shape that lies in the folder; NoShape when there is none."""
        return cls(plan.read(folder))

    @property
    def base_url(self) -> str:
        """The public origin, https."""
        return self.written.base_url

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, where it is not one of a public authority."""
        return self.written.certificates / "tls.crt"

    @property
    def key_file(self) -> Path:
        """Its private key."""
        return self.written.certificates / "tls.key"

    @property
    def all_parts(self) -> list[Part]:
        """In the order of their start."""
        return [*self.parts.values(), *self.watching.values()]

    def start(self) -> None:
        """Start what does not run, in order, each stage when the one before is ready. NotReady
        leaves running what does."""
        if not self.written.is_development:
            _make_certificate(self.written, self.code)
        for stage in self._stages():
            if any(part.role == "nginx" and part.pid is None for part in stage):
                self._write_door(self.code)
            _start(stage, self.code)

    def watch(self) -> None:
        """Start what watches the others, where it does not run, and again where it does with the
        files of other code."""
        self._write_targets()
        for part in self.watching.values():
            found = part.state.running
            if found is not None and Path(found.code) != self.code:
                part.stop()
        _start(list(self.watching.values()), self.code)

    def stop(self) -> None:
        """Stop everything, what was started last first."""
        for stage in reversed([*self._stages(), list(self.watching.values())]):
            with ThreadPoolExecutor(max(1, len(stage))) as pool:
                list(pool.map(Part.stop, stage))

    def rolling_restart(self) -> None:
        """Every process of our code is replaced, one after the other, and nginx takes up its
        configuration anew, while requests are answered. Redis and MongoDB go on: a single one
        can't be restarted unseen, and the members of a replica set are restarted by whoever runs
        them. NotReady leaves the part that did not get ready, and those after it, as they were."""
        for part in self.replaceable:
            part.replace(self.code, self.reload_door)
        self.reload_door(self.code)

    @property
    def replaceable(self) -> list[Part]:
        """The parts that another process can take the place of while they serve."""
        return [part for part in self.parts.values() if part.role in ROLES]

    def reload_door(self, code: Path | None = None) -> None:
        """nginx goes on with the parts as they are now, without refusing anybody; with the
        configuration of this code, else with that which it has. NotReady when it refuses it."""
        # The supervisor does this too, for a certificate; each waits for what it has written.
        with running.locked(self.written.folder / "run" / "door.lock"):
            self._reload(code)

    def _reload(self, code: Path | None) -> None:
        nginx = self.parts["nginx"]
        found = nginx.state.running
        own = self.written.own("nginx")
        last = door.written(own)
        try:
            if code is None and last:
                self._lead_door()
            else:
                self._write_door(code or self.code)
        except door.Unexpected as problem:
            self._put_back(last)
            raise NotReady(f"nginx goes on as it was: {problem}") from problem
        if found is None or not found.is_alive:
            return
        check = [*door.command(own, own / "nginx.conf"), "-t"]
        checked = subprocess.run(check, capture_output=True, text=True, check=False)  # noqa: S603
        if checked.returncode:
            self._put_back(last)
            raise NotReady(f"nginx refuses its configuration:\n{checked.stderr}")
        found.signal(signal.SIGHUP)
        self._await_generation()
        if code is not None:
            nginx.took_up(code)
        time.sleep(_SETTLE_SECONDS)

    def _stages(self) -> Iterator[list[Part]]:
        for stage in _STAGES:
            yield [part for part in self.parts.values() if part.role in stage]

    def _ports(self) -> dict[str, list[int]]:
        return {
            role: [part.port for part in self.parts.values() if part.role == role] for role in ROLES
        }

    def _write_targets(self) -> None:
        watching.write_targets(self.written, self._ports())

    def _put_back(self, files: Mapping[str, str]) -> None:
        if files:
            door.put_back(self.written.own("nginx"), files)
            self._lead_door()

    def _lead_door(self) -> None:
        self._write_targets()
        door.lead(self.written.own("nginx"), self._ports())

    def _write_door(self, code: Path) -> None:
        self._write_targets()
        nginx = self.written.slot("nginx")
        doors = dict(zip(DOORS, nginx.ports, strict=True))
        doors["public"] = urlsplit(self.base_url).port or door.HTTPS
        own = self.written.own("nginx")
        door.write(code, own, self.written.certificates, doors, self._ports())

    def _await_generation(self) -> None:
        """Until nginx answers by what was written last."""
        wanted = door.generation(self.written.own("nginx"))
        url = f"http://127.0.0.1:{self.written.door('server')}{door.GENERATION}"
        end = time.monotonic() + _RELOAD_SECONDS
        while time.monotonic() < end:
            with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                if answer.read().decode() == wanted:
                    return
            time.sleep(0.05)
        raise NotReady("nginx does not take up its configuration")


@contextmanager
def running_shape(shape: Shape) -> Iterator[Shape]:
    """Started; stopped at the end, whatever happens."""
    try:
        shape.start()
        yield shape
    finally:
        shape.stop()


def plan_development(folder: Path, port: int) -> Shape:
    """A new shape of one process with the demonstration, on the embedded store; NoShape when the
    folder holds one already."""
    folder = folder.resolve()
    plan.require_free(folder)
    made = Plan(folder, f"http://localhost:{port}", plan.development(port))
    made.write()
    return Shape(made)


def _start(stage: Sequence[Part], code: Path) -> None:
    for part in stage:
        part.start(code, waits=False)
    for part in stage:
        part.wait()


def _write_secrets(made: Plan, addresses: Mapping[str, str | None]) -> None:
    """The secret files as they are made for Compose, with the addresses of here."""
    make_missing(made.secrets)
    password = (made.secrets / "redis_password").read_text("utf-8").strip()
    own = {
        "mongodb": lambda port: f"mongodb://127.0.0.1:{port}/",
        "redis": lambda port: f"redis://:{password}@127.0.0.1:{port}/0",
    }
    for name, file in (("mongodb", "medsage_mongodb_uri"), ("redis", "medsage_redis_url")):
        address = addresses[name] or own[name](made.slot(name).ports[0])
        (made.secrets / file).chmod(0o600)
        (made.secrets / file).write_text(address, "utf-8")
        (made.secrets / file).chmod(0o400)


def _make_certificate(made: Plan, code: Path) -> None:
    """A self-signed one for this machine; for other names the operator brings one."""
    if all((made.certificates / name).is_file() for name in ("tls.crt", "tls.key")):
        return
    host = urlsplit(made.base_url).hostname or ""
    script = code / door.NGINX / "self_signed.sh"
    if host not in _LOCAL:
        raise NoShape(
            f"put the certificate chain of {host} and its key into {made.certificates}/tls.crt and"
            f" tls.key, or, to try it out: {script} {made.certificates} {host}"
        )
    subprocess.run([script, made.certificates, host], check=True, capture_output=True)  # noqa: S603
