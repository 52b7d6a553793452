"""`medsage demo`: the main job, on a running server or on one started for it."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy.commands.ending import NO_SERVER, fail
from deploy.commands.serve import read_settings
from deploy.demo.doctor import SignInFailed
from deploy.demo.job import Job, JobFailed
from deploy.logs import configure
from deploy.standalone import composed
from models.fhir_client import FhirFailure

app = typer.Typer(add_completion=False)
EXAMPLE = "Example: medsage demo --json --base-url http://localhost:5000"
IMAGE = Path(__file__).parents[1] / "demo" / "images" / "cell-parasitized.png"
_OWN_URL = "http://localhost"


@app.command(epilog=EXAMPLE)
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print ids, states, times.")] = False,
    base_url: Annotated[
        str | None, typer.Option(help="A running server; without it one is started.")
    ] = None,
    image: Annotated[Path, typer.Option(help="The smear image to submit.")] = IMAGE,
) -> None:
    """Submit a smear image with symptoms, wait for the report, sign it, show the audit trail."""
    if not image.is_file():
        fail(f"{image} is not a file")
    try:
        found = asyncio.run(_on(base_url, image, as_json))
    except (JobFailed, SignInFailed) as failure:
        fail(str(failure))
    except FhirFailure as failure:
        fail(failure.text, NO_SERVER if base_url and failure.status == 503 else 1)
    except httpx.HTTPError as failure:
        fail(f"no server at {base_url}: {type(failure).__name__}", NO_SERVER)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(
            f"Draft after {found['seconds_to_preliminary']} s, all in all "
            f"{found['seconds_total']} s. Report {found['report']['id']} is "
            f"{found['report']['status']}."
        )


async def _on(base_url: str | None, image: Path, as_json: bool) -> dict[str, Any]:
    def say(text: str) -> None:
        typer.echo(text, err=as_json)

    if base_url is not None:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            return await Job(http, base_url.rstrip("/"), image, say).run()
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings({"data": Path(folder), "base_url": _OWN_URL, "role": "all"})
        configure("error")
        async with composed(settings) as application:
            transport = httpx.ASGITransport(app=application)
            async with httpx.AsyncClient(transport=transport, timeout=30) as http:
                return await Job(http, _OWN_URL, image, say).run()
