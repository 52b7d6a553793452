"""`medsage serve`: the parts of a role in one process."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvicorn
import uvloop

from deploy import tls, tuning
from deploy.commands.ending import UNUSABLE, fail
from deploy.demo.identities import PASSWORD, USERS
from deploy.draining import Draining
from deploy.keys import MissingSecret
from deploy.logs import configure
from deploy.serving import CantListen, bound, heeding
from deploy.serving import serve as serve_until_the_end
from deploy.standalone import RefusedStart, StoreNotOpened, composed
from fhir_server.load_settings import UnusableSettings, load
from fhir_server.settings import Settings
from smart_app.registered import BadRegistration

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage serve --port 5000 --data data"
OPEN_ACCESS = "medsage: OPEN ACCESS: no tokens are asked for. Development only."
_LOOPBACK = ("localhost", "127.0.0.1")


@app.command(epilog=EXAMPLE)
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    data: Annotated[Path | None, typer.Option(help="Folder of the embedded store.")] = None,
    role: Annotated[
        Literal["all", "server", "worker", "app"] | None, typer.Option(help="Parts to run.")
    ] = None,
    open_access: Annotated[
        bool, typer.Option("--open-access", help="Ask for no tokens (development only).")
    ] = False,
) -> None:
    """Run FHIR server, authorization server, app, worker and (in development) a simulated EHR."""
    settings = read_settings(
        {
            "data": data,
            "role": role,
            "open_access": open_access or None,
            "base_url": None if "MEDSAGE_BASE_URL" in os.environ else f"http://localhost:{port}",
        }
    )
    if settings.tls_certificate_file and settings.base_url == f"http://localhost:{port}":
        settings = settings.model_copy(update={"base_url": f"https://localhost:{port}"})
    configure(settings.log_level)
    try:
        uvloop.run(_serve(settings, host, port))
    except (RefusedStart, MissingSecret, UnusableSettings, BadRegistration) as refusal:
        fail(str(refusal), UNUSABLE)
    except (CantListen, StoreNotOpened, OSError) as problem:
        fail(str(problem))


def read_settings(given: dict[str, object]) -> Settings:
    """The settings of environment and `.env`, with what the command line gives on top."""
    try:
        settings, lines = load(os.environ, Path(".env"))
    except UnusableSettings as problem:
        fail(str(problem), UNUSABLE)
    for line in lines:
        typer.echo(f"medsage: {line}", err=True)
    return settings.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )


async def _serve(settings: Settings, host: str, port: int) -> None:
    draining = Draining()
    with bound(host, port) as listening, heeding(draining):
        async with composed(settings, _origins(settings, port), draining) as application:
            config = uvicorn.Config(
                application,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=True,
                forwarded_allow_ips=settings.trusted_proxies,
                server_header=False,
            )
            tls.called(config, settings)
            tuning.for_serving()
            if settings.open_access:
                typer.echo(OPEN_ACCESS, err=True)
            typer.echo(_where(settings))
            await serve_until_the_end(config, listening, draining, settings.drains_for)


def _origins(settings: Settings, port: int) -> Sequence[str]:
    """Where browsers open this process; in development by name and by number, as the two are
    different sites and the EHR's frame is to work across them."""
    if settings.profile != "dev":
        return [settings.base_url]
    scheme = settings.base_url.partition(":")[0]
    local = [f"{scheme}://{name}:{port}" for name in _LOOPBACK]
    return list(dict.fromkeys([settings.base_url, *local]))


def _where(settings: Settings) -> str:
    base = settings.base_url
    lines = ["", f"MedSAGE is ready ({settings.role}).", "", f"  FHIR base      {base}/fhir"]
    if settings.role in ("all", "app"):
        lines.append(f"  The app        {base}/app/")
    if settings.demo and settings.role in ("all", "server"):
        token = ".venv/bin/medsage dev token --base-url " + base + " --scopes 'system/*.cruds'"
        who = ", ".join(f"{user.id} ({', '.join(sorted(user.roles))})" for user in USERS)
        lines += [
            f"  Simulated EHR  {base}/ehr/",
            f"  Users          {who}; password: {PASSWORD}",
            "",
            "  Try the API:",
            f'  curl -H "Authorization: Bearer $({token})" \\',
            "    -F age=34 -F weight=61 -F height=168 -F 'symptoms=fever and chills' \\",
            f"    -F imageUpload=@deploy/demo/images/cell-parasitized.png {base}/api/diagnose",
        ]
    return "\n".join(
        [*lines, "", "  All data here is synthetic. Research use; not a medical device."]
    )


def store_settings(data: Path | None) -> Settings:
    """Settings for commands that open the store themselves."""
    return read_settings({"data": data})
