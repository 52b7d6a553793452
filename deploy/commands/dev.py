"""`medsage dev`: what only development needs."""

import asyncio
from pathlib import Path
from typing import Annotated

import httpx
import typer

from deploy.commands.ending import NO_SERVER, fail
from deploy.demo.doctor import SignInFailed, doctors_token
from deploy.demo.loading import demo_tokens
from models.fhir_client import FhirFailure

app = typer.Typer(help="Development only.", no_args_is_help=True)
DEFAULT_URL = "http://localhost:5000"


@app.command("token", epilog="Example: medsage dev token --scopes 'system/*.cruds'")
def token(
    base_url: Annotated[str, typer.Option(help="Origin of the running server.")] = DEFAULT_URL,
    scopes: Annotated[str, typer.Option(help="Scopes, separated by spaces.")] = "system/*.cruds",
    user: Annotated[str | None, typer.Option(help="A user of the demonstration instead.")] = None,
) -> None:
    """Print a bearer token of the demonstration's own service client, or of one of its users
    (whose scopes are all that their roles allow)."""
    origin = base_url.rstrip("/")
    typer.echo(asyncio.run(_users_token(origin, user) if user else _token(origin, scopes)))


async def _users_token(base_url: str, user: str) -> str:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        try:
            return await doctors_token(http, base_url, user)
        except SignInFailed as failure:
            fail(f"no token: {failure}")
        except httpx.HTTPError as failure:
            fail(f"no server at {base_url}: {type(failure).__name__}", NO_SERVER)


async def _token(base_url: str, scopes: str) -> str:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        try:
            value = await demo_tokens(http, base_url, scopes).token()
        except FhirFailure as failure:
            fail(f"no token: {failure.text}", NO_SERVER if failure.status == 503 else 1)
    if value is None:
        fail("no token was given")
    return value


@app.command("mongodb", epilog="Example: medsage dev mongodb --data /tmp/mongo")
def mongodb(
    data: Annotated[Path, typer.Option(help="Folder for its files.")],
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 0,
    install: Annotated[
        bool, typer.Option("--install", help="Build the stand-in first when there is none.")
    ] = False,
) -> None:
    """Start a MongoDB (or its wire-compatible stand-in); the first line is its URI."""
    raise typer.Exit(_mongodb(data, port, install))


def _mongodb(data: Path, port: int, install_first: bool) -> int:
    from deploy import dev_mongodb

    if install_first and (code := dev_mongodb.install()):
        return code
    return dev_mongodb.serve(data, port)
