"""`python -m deploy.processes VERB`: what `deploy.sh --processes VERB` does."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from dotenv import dotenv_values

from deploy.processes import plan, roles, running, supervisor, versions, watching
from deploy.processes.part import NotReady
from deploy.processes.plan import ROOT, NoShape
from deploy.processes.shape import Shape, plan_development
from deploy.processes.upgrade import WentBack, brought, medsage

app = typer.Typer(
    name="./deploy.sh --processes",
    help="MedSAGE as processes of this machine: nginx, servers, workers, apps, Redis, MongoDB.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
FOLDER = Path("var")
_LINES = "200"
_TARGET_SECONDS = 30.0
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="nginx, with TLS (8443).", show_default=False)
]
Count = Annotated[int | None, typer.Option(min=1, help="How many (2).", show_default=False)]
_DEFAULTS = {"port": 8443, "servers": 2, "workers": 2, "apps": 2}
Folder = Annotated[Path, typer.Option(envvar="MEDSAGE_PROCESSES", help="Where all of it lies.")]


@app.command()
def dev(
    folder: Folder = FOLDER,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 5000,
) -> None:
    """Everything in one process with the demonstration, on the embedded store."""
    with _Told():
        if plan.is_planned(folder):
            shape = Shape.open(folder)
            if not shape.written.is_development:
                raise NoShape(f"{folder} holds a production shape; name another --folder")
        else:
            shape = plan_development(folder, port)
        shape.start()
        supervisor.start(shape.written)
    typer.echo(f"MedSAGE answers at {shape.base_url}")


@app.command()
def prod(
    first: Annotated[
        Literal["backup"] | None, typer.Argument(help="Make a backup before what is there changes.")
    ] = None,
    folder: Folder = FOLDER,
    port: Port = None,
    servers: Count = None,
    workers: Count = None,
    apps: Count = None,
) -> None:
    """Start the production shape; when it runs, go to the code that is here now."""
    with _Told():
        is_new = not plan.is_planned(folder)
        wanted = {"port": port, "servers": servers, "workers": workers, "apps": apps}
        shape = _of(folder, wanted)
        with _alone(shape):
            if first is not None and not is_new:
                _back_up(shape)
            shape.code = versions.kept(ROOT, _versions(shape))
            _start_backing(shape)
            if any(part.pid is not None for part in shape.replaceable):
                brought(shape, shape.code, typer.echo)
            shape.start()
            _keep_up(shape)
    typer.echo(f"MedSAGE answers at {shape.base_url}")
    typer.echo(f"Trust {shape.ca_file}, unless it is of an authority that your clients know.")


@app.command()
def upgrade(
    folder: Folder = FOLDER,
    backup: Annotated[bool, typer.Option(help="Make one first.")] = True,
    check: Annotated[bool, typer.Option(help="Let the new code look first.")] = True,
) -> None:
    """A backup; with the code that is here now a look at store and settings, and the store's
    migration; then one part after the other runs it, and all the old one again when a part does not
    get ready. Where old and new can't use the store together, everything stops meanwhile."""
    with _Told():
        shape = _production(folder)
        with _alone(shape):
            _upgrade(shape, saves=backup, looks=check)
    typer.echo("upgraded")


@app.command()
def monitor(folder: Folder = FOLDER) -> None:
    """Start Prometheus and Alertmanager with the shipped files, and say which targets are up."""
    with _Told():
        shape = _production(folder)
        with _alone(shape):
            shape.code = versions.kept(ROOT, _versions(shape))
            shape.watch()
        for part in shape.watching.values():
            typer.echo(f"{part.name}: http://127.0.0.1:{part.port}/")
        found = _targets(shape)
    for job, instance, health in found:
        typer.echo(f"{job:14}{instance:22}{health}")
    if any(health != "up" for _, _, health in found):
        raise typer.Exit(1)


@app.command()
def status(folder: Folder = FOLDER) -> None:
    """What runs, and whether it is ready. Ends with 1 when something that should be is not."""
    with _Told():
        shape = Shape.open(folder)
    is_well = True
    for part in shape.all_parts:
        state = part.state
        problem = part.problem() if state.is_wanted else "stopped"
        is_well = is_well and problem in (None, "stopped")
        number, version = part.pid or "-", Path(state.running.code).name if state.running else "-"
        found = problem or "ready"
        typer.echo(f"{part.name:14}{part.port:>6}  pid {number!s:8}{version:14}{found}")
    typer.echo(f"The supervisor {_kept(shape)}; nginx answers at {shape.base_url}")
    if not is_well:
        raise typer.Exit(1)


@app.command()
def logs(
    part: Annotated[str | None, typer.Argument(help="One part; all when not named.")] = None,
    folder: Folder = FOLDER,
    follow: Annotated[bool, typer.Option(help="Go on with what comes.")] = True,
) -> None:
    """The last lines of all parts or of one, and what comes."""
    with _Told():
        shape = Shape.open(folder)
        known = {each.name: each.log for each in shape.all_parts}
        known["supervisor"] = supervisor.log(shape.written)
        if part is not None and part not in known:
            raise NoShape(f"there is no part {part}; there are {', '.join(known)}")
    files = [str(log) for name, log in known.items() if log.exists() and part in (None, name)]
    if files:
        os.execvp("tail", ["tail", "-n", _LINES, *(["-F"] if follow else []), *files])  # noqa: S606, S607


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def backup(context: typer.Context, folder: Folder = FOLDER) -> None:
    """Make a backup now; or another verb of `medsage backup` (list, verify, drill …)."""
    with _Told():
        shape = _production(folder)
        code = medsage(shape, "worker", _code(shape), ["backup", *(context.args or ["create"])])
    raise typer.Exit(code)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def restore(
    context: typer.Context,
    folder: Folder = FOLDER,
    port: Port = None,
    servers: Count = None,
    workers: Count = None,
    apps: Count = None,
) -> None:
    """Fill an empty database from the newest backup, before `prod` (--at, --backup)."""
    with _Told():
        wanted = {"port": port, "servers": servers, "workers": workers, "apps": apps}
        shape = _of(folder, wanted)
        with _alone(shape):
            if any(part.pid is not None for part in shape.replaceable):
                raise NoShape("servers and workers run: a restore goes into an empty installation")
            _start_backing(shape)
            made = f"restored-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            restoring = ["backup", "restore", "--data", made, *context.args]
            code = medsage(shape, "worker", ROOT, restoring)
    if not code:
        typer.echo("restored; prod starts it")
    raise typer.Exit(code)


@app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def execute(context: typer.Context, folder: Folder = FOLDER) -> None:
    """Run `medsage` with the environment of a server, as `exec user add …`."""
    with _Told():
        shape = Shape.open(folder)
        role = "all" if shape.written.is_development else "server"
        code = medsage(shape, role, _code(shape), context.args)
    raise typer.Exit(code)


@app.command()
def cleanup(
    folder: Folder = FOLDER,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove data, secrets and backups too.")
    ] = False,
) -> None:
    """Stop everything and forget which parts there are; data, secrets, backups and logs stay,
    unless --all says otherwise, which asks first."""
    with _Told():
        shape = Shape.open(folder)
        if everything:
            typer.echo(
                "This removes all patient data of this installation, and its backups in"
                f" {shape.written.backups}. Type REMOVE to go on: ",
                nl=False,
                err=True,
            )
            if sys.stdin.readline().strip() != "REMOVE":
                raise NoShape("nothing was removed")
        found = supervisor.keeper(shape.written)
        if found is not None and not found.is_in_background:
            raise NoShape(f"end the supervisor first (pid {found.pid}), as by systemctl stop")
        with _alone(shape):
            supervisor.stop(shape.written)
            shape.stop()
            plan.forget(shape.written)
            if everything:
                plan.remove(shape.written)


@app.command(hidden=True)
def supervise(
    folder: Folder = FOLDER, background: Annotated[bool, typer.Option(hidden=True)] = False
) -> None:
    """Start again what dies, until a signal comes (in the foreground)."""
    with _Told():
        supervisor.supervise(Shape.open(folder), is_in_background=background)


class _Told:
    """Problems of ours end the command with a line that says why."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, problem: BaseException | None, __: object) -> None:
        if isinstance(problem, (NoShape, NotReady, WentBack)):
            _fail(str(problem))


def _fail(text: str) -> NoReturn:
    typer.echo(f"deploy: {text}", err=True)
    raise typer.Exit(1)


def _kept(shape: Shape) -> str:
    found = supervisor.keeper(shape.written)
    if found is None:
        return "does not run"
    by = "left by a verb" if found.is_in_background else "started by systemd or by hand"
    return f"runs (pid {found.pid}, {by})"


def _production(folder: Path) -> Shape:
    shape = Shape.open(folder)
    if shape.written.is_development:
        raise NoShape(f"{folder} holds a development shape; name another --folder")
    return shape


def _of(folder: Path, wanted: Mapping[str, int | None]) -> Shape:
    """The shape in the folder, which must be the wanted one, or a new one."""
    asked = {name: value for name, value in wanted.items() if value is not None}
    if not plan.is_planned(folder):
        return _planned(folder, _DEFAULTS | asked)
    shape = _production(folder)
    written = shape.written
    has = {
        "port": written.door("tls"),
        "servers": len(written.of_role("server")),
        "workers": len(written.of_role("worker")),
        "apps": len(written.of_role("app")),
    }
    for name, value in asked.items():
        if has[name] != value:
            raise NoShape(
                f"the shape in {folder} has --{name} {has[name]}; cleanup, which keeps its data,"
                " then prod with another"
            )
    return shape


def _planned(folder: Path, numbers: Mapping[str, int]) -> Shape:
    given = _given(os.environ)
    settings = {name: given[name] for name in roles.GIVEN | {"MEDSAGE_BASE_URL"} if name in given}
    url = settings.get("MEDSAGE_BASE_URL", "https://")
    if not url.startswith("https://"):
        raise NoShape(f"MEDSAGE_BASE_URL must begin with https:// and is {url}")
    for name in roles.not_passed_on(given):
        typer.echo(f"deploy: {name} is set and reaches no part in this form", err=True)
    return Shape.plan(
        folder,
        servers=numbers["servers"],
        workers=numbers["workers"],
        apps=numbers["apps"],
        mongodb=given.get("MEDSAGE_MONGODB_URI"),
        redis=given.get("MEDSAGE_REDIS_URL"),
        port=numbers["port"],
        settings=settings,
    )


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """The operator's variables; what stands in `.env` beside the checkout counts less."""
    written = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value}
    return {name: value for name, value in {**written, **environ}.items() if value}


def _versions(shape: Shape) -> Path:
    return shape.written.folder / "versions"


def _code(shape: Shape) -> Path:
    """The code that the servers run, else that which is here."""
    found = next((part.state.running for part in shape.replaceable), None)
    return ROOT if found is None else Path(found.code)


@contextmanager
def _alone(shape: Shape) -> Iterator[None]:
    """Two verbs that change a shape would undo each other's work."""
    with running.locked(shape.written.folder / "verb.lock", is_patient=False) as is_alone:
        if not is_alone:
            raise NoShape("another verb is at work on this shape")
        yield


def _upgrade(shape: Shape, *, saves: bool, looks: bool) -> None:
    """Also out of a version of which a part does not run or is not well."""
    if all(part.pid is None for part in shape.replaceable):
        raise NoShape("nothing runs; prod starts it")
    _start_backing(shape)
    if saves:
        _back_up(shape, ". If none can be made before the upgrade: upgrade --no-backup")
    code = versions.kept(ROOT, _versions(shape))
    if looks and medsage(shape, "worker", code, ["check", "--no-server"]):
        raise NoShape(
            "the new version can't work with what is here (above); nothing was changed. If the"
            " upgrade is to mend it: upgrade --no-check"
        )
    brought(shape, code, typer.echo)
    shape.code = code
    shape.start()
    _keep_up(shape)


def _start_backing(shape: Shape) -> None:
    """Our own MongoDB and Redis, where we have them."""
    for part in shape.parts.values():
        if part.role in ("redis", "mongodb"):
            part.start(shape.code)


def _back_up(shape: Shape, way_around: str = "") -> None:
    _start_backing(shape)
    if medsage(shape, "worker", _code(shape), ["backup", "create"]):
        raise NoShape(f"the backup failed (above); nothing was changed{way_around}")


def _keep_up(shape: Shape) -> None:
    """A supervisor of the same code, the files of the same code for who watches the parts, and no
    copies of code that nobody runs."""
    supervisor.renew(shape.written, shape.code)
    if any(part.state.is_wanted for part in shape.watching.values()):
        shape.watch()
    used = {Path(found.code) for part in shape.all_parts if (found := part.state.running)}
    versions.prune(_versions(shape), used | {shape.code})


def _targets(shape: Shape) -> list[tuple[str, str, str]]:
    """As soon as Prometheus has asked each once."""
    end = time.monotonic() + _TARGET_SECONDS
    while True:
        found = list(watching.targets(shape.written))
        is_known = found and all(health != "unknown" for _, _, health in found)
        if is_known or time.monotonic() > end:
            return found
        time.sleep(0.5)
