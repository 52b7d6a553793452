"""`python -m deploy.processes VERB`: what `deploy.sh --processes VERB` does."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from deploy import secret_files
from deploy.processes import plan, redis_password, running, supervisor, versions, wanted, watching
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
    """Start the production shape; when it runs, go to the code, settings and secrets that are here
    now: a part for which they are the same goes on."""
    with _Told():
        is_new = not plan.is_planned(folder)
        numbers = {"port": port, "servers": servers, "workers": workers, "apps": apps}
        shape = wanted.shape(folder, numbers, _warn)
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
        shape = wanted.production(folder)
        with _alone(shape):
            _upgrade(shape, saves=backup, looks=check)
    typer.echo("upgraded")


@app.command()
def monitor(folder: Folder = FOLDER) -> None:
    """Start Prometheus and Alertmanager with the shipped files, and say which targets are up."""
    with _Told():
        shape = wanted.production(folder)
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
        shape = wanted.production(folder)
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
        numbers = {"port": port, "servers": servers, "workers": workers, "apps": apps}
        shape = wanted.shape(folder, numbers, _warn)
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
        shape = wanted.opened(folder)
        role = "all" if shape.written.is_development else "server"
        code = medsage(shape, role, _code(shape), context.args)
    raise typer.Exit(code)


@app.command()
def secrets(
    new: Annotated[str, typer.Option(help="Which: redis_password.", metavar="NAME")],
    folder: Folder = FOLDER,
) -> None:
    """Make a password anew in the secret files; `prod` then takes it up."""
    with _Told():
        shape = wanted.production(folder)
        with _alone(shape):
            made = secret_files.renew(shape.written.secrets, new)
    for name in made:
        typer.echo(f"made {name} anew")


@app.command()
def cleanup(
    folder: Folder = FOLDER,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove data, secrets and backups too.")
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="Remove data; secrets and backups stay.")
    ] = False,
) -> None:
    """Stop everything and forget which parts there are; data, secrets, backups and logs stay,
    unless --all or --data (before a restore) says otherwise, which asks first."""
    with _Told():
        shape = Shape.open(folder)
        if everything or data:
            backups = shape.written.backups
            _require_word(
                f"its secrets, and its backups in {backups}"
                if everything
                else f"but not its secrets, nor its backups in {backups}"
            )
        found = supervisor.keeper(shape.written)
        if found is not None and not found.is_in_background:
            raise NoShape(f"end the supervisor first (pid {found.pid}), as by systemctl stop")
        with _alone(shape):
            supervisor.stop(shape.written)
            shape.stop()
            plan.forget(shape.written)
            if everything:
                plan.remove(shape.written)
            elif data:
                plan.remove_stored(shape.written)


def _require_word(more: str) -> None:
    typer.echo(
        f"This removes all patient data of this installation, {more}. Type REMOVE to go on: ",
        nl=False,
        err=True,
    )
    if sys.stdin.readline().strip() != "REMOVE":
        raise NoShape("nothing was removed")


@app.command(hidden=True)
def supervise(
    folder: Folder = FOLDER, background: Annotated[bool, typer.Option(hidden=True)] = False
) -> None:
    """Start again what dies, until a signal comes (in the foreground)."""
    with _Told():
        supervisor.supervise(wanted.opened(folder), is_in_background=background)


class _Told:
    """Problems of ours end the command with a line that says why."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, problem: BaseException | None, __: object) -> None:
        if isinstance(problem, (NoShape, NotReady, WentBack, secret_files.NotHere)):
            _fail(str(problem))


def _fail(text: str) -> NoReturn:
    _warn(text)
    raise typer.Exit(1)


def _warn(text: str) -> None:
    typer.echo(f"deploy: {text}", err=True)


def _kept(shape: Shape) -> str:
    found = supervisor.keeper(shape.written)
    if found is None:
        return "does not run"
    by = "left by a verb" if found.is_in_background else "started by systemd or by hand"
    return f"runs (pid {found.pid}, {by})"


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
        if part.role == "redis":
            redis_password.add(shape.written, part.port)


def _back_up(shape: Shape, way_around: str = "") -> None:
    _start_backing(shape)
    if medsage(shape, "worker", _code(shape), ["backup", "create"]):
        raise NoShape(f"the backup failed (above); nothing was changed{way_around}")


def _keep_up(shape: Shape) -> None:
    """A supervisor of the same code, the files of the same code for who watches the parts, and no
    copies of code that nobody runs; the settings that all parts have now are written down, and of
    Redis' passwords the one that they have counts alone."""
    shape.written.write()
    redis = shape.parts.get("redis")
    if redis and redis.pid and redis_password.settle(shape.written, redis.port):
        typer.echo("redis takes the new password alone")
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
